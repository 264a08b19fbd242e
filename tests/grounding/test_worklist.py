"""A worklist ends with every study done or set aside with its reason, and goes on where it was stopped."""

import csv
import json
from pathlib import Path

import pytest

from medreasoner_monai.dicom import series as dicom_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.outputs import NAMES
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.grounding.worklist import LOG, TABLE, read_worklist, run_worklist
from tests.dicom.tools import carried, make_ct
from tests.grounding.fakes import MiddleReasoner, grounder


def worklist(folder: Path, *rows: str, header: str = "id,dicom,question,slices,category") -> Path:
    path = folder / "worklist.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_ct(tmp_path / "ct one", 3)
    make_ct(tmp_path / "two", 2)
    cut = carried("CT_small.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(cut[: len(cut) // 2])
    return tmp_path


def test_bad_studies_are_told_and_the_rest_are_done(folder: Path) -> None:
    path = worklist(
        folder,
        "a,ct one,Which part is bright?,,liver",
        "b,cut.dcm,Which part?,,",
        "c,nowhere,Which part?,,",
        "a,ct one,And which is dark?,,",
        "d,two,,,",
        "e,two,Which part?,9,",
        "f,two,Which part?,some,",
        "../up,two,Which part?,,",
        "g,two,Which part?,,livre",
        "h,two,肝臓はどこですか,1,",
    )
    items = read_worklist(path, GroundingSettings())
    results = run_worklist(grounder(), items, folder / "out")
    assert {d.id: d.status for d in results} == {
        "a": "done", "b": "failed", "c": "failed", "d": "failed", "e": "failed", "f": "failed", "0008": "failed",
        "g": "failed", "h": "done",
    }  # fmt: skip
    reasons = {d.id: d.reason for d in results}
    assert "truncated" in reasons["b"] and "no such file" in reasons["c"] and "is empty" in reasons["d"]
    assert "slice 9 is asked for" in reasons["e"] and "auto, all, or" in reasons["f"]
    assert "not a plain file name" in reasons["0008"] and "Did you mean 'liver'" in reasons["g"]
    assert not (folder / "up").exists()

    answer = json.loads((folder / "out/a/answer.json").read_text())
    assert [f["question"] for f in answer["findings"]] == ["Which part is bright?", "And which is dark?"]
    assert [f["coded_from"] for f in answer["findings"]] == ["given", ""]
    with (folder / "out" / TABLE).open(encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    assert [row["id"] for row in table] == [i.id for i in items] and table[0]["findings"] == "found; found"


def test_the_same_command_goes_on_where_it_was_stopped(folder: Path) -> None:
    items = read_worklist(worklist(folder, "a,ct one,Which?,,", "b,two,Which?,,"), GroundingSettings())

    class Stopped(MiddleReasoner):
        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            if len(self.seen) == 3:
                raise KeyboardInterrupt
            return super().answer(images, questions)

    with pytest.raises(KeyboardInterrupt):
        run_worklist(grounder(Stopped()), items, folder / "out")
    assert not (folder / "out" / TABLE).exists()
    with (folder / "out" / LOG).open("a") as log:
        log.write('{"id": "b", "sta')  # cut off while it was written
    kept = (folder / "out/a/seg.dcm").read_bytes()

    reasoner = MiddleReasoner()
    results = run_worklist(grounder(reasoner), items, folder / "out")
    assert [d.status for d in results] == ["done", "done"] and len(reasoner.seen) == 2, "only b was asked"
    assert (folder / "out/a/seg.dcm").read_bytes() == kept


def test_another_request_or_study_is_asked_again_and_a_failure_leaves_no_old_answer(folder: Path) -> None:
    out = folder / "out"
    run_worklist(grounder(), read_worklist(worklist(folder, "a,two,Which?,,"), GroundingSettings()), out)
    reasoner = MiddleReasoner()
    again = read_worklist(worklist(folder, "a,two,Which other?,,"), GroundingSettings())
    run_worklist(grounder(reasoner), again, out)
    assert len(reasoner.seen) == 2
    make_ct(folder / "two", 3)  # sent again
    (done,) = run_worklist(grounder(reasoner), again, out)
    assert done.status == "done" and len(reasoner.seen) == 5
    for damaged in sorted((folder / "two").iterdir())[:2]:  # a single one would be set aside
        damaged.write_bytes(damaged.read_bytes()[:-1000])
    (done,) = run_worklist(grounder(), again, out)
    assert done.status == "failed" and "truncated" in done.reason
    assert not any((out / "a" / name).exists() for name in NAMES)


def test_what_a_library_raises_does_not_end_the_others_nor_reach_the_table(folder: Path) -> None:
    class Breaking(MiddleReasoner):
        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            if "secret" in questions[0]:
                raise RuntimeError("secret name")
            return super().answer(images, questions)

    items = read_worklist(worklist(folder, "a,two,secret?,,", "b,two,Which?,,"), GroundingSettings())
    first, second = run_worklist(grounder(Breaking()), items, folder / "out")
    assert first.status == "failed" and first.reason.startswith("unexpected RuntimeError")
    assert "secret" not in (folder / "out" / TABLE).read_text() and second.status == "done"


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("id,dicom,questoin", ["a,b,c"], "unknown column 'questoin'.* Did you mean 'question'"),
        ("id,question", ["a,b"], "the column 'dicom' is missing"),
        ("dicom,question", [], "has no row"),
    ],
)
def test_a_table_of_another_form_is_refused(tmp_path: Path, header: str, rows: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_worklist(worklist(tmp_path, *rows, header=header), GroundingSettings())


def test_rows_of_one_id_that_do_not_belong_together_are_one_failed_study(folder: Path) -> None:
    path = worklist(folder, "a,two,Which?,,", "a,ct one,Which other?,,")
    (item,) = read_worklist(path, GroundingSettings())
    assert "row 2 has the same id, but another series" in item.problem


def test_another_rendering_rule_is_another_request(folder: Path) -> None:
    def run(rule: str) -> MiddleReasoner:
        path = worklist(folder, f"a,two,Which?,{rule}", header="id,dicom,question,rendering")
        reasoner = MiddleReasoner()
        run_worklist(grounder(reasoner), read_worklist(path, GroundingSettings()), folder / "out")
        return reasoner

    assert len(run("").seen) == 2 and len(run("as-stored").seen) == 0, "the default by its name"
    assert len(run("ct-lung").seen) == 2
    path = worklist(folder, "a,two,Which?,ct-lnug", header="id,dicom,question,rendering")
    (item,) = read_worklist(path, GroundingSettings())
    assert "Did you mean 'ct-lung'" in item.problem


def test_studies_of_one_folder_have_their_headers_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = dicom_series.read_header
    monkeypatch.setattr(dicom_series, "read_header", lambda path, kept: read.append(path) or original(path, kept))
    for number in (1, 2):
        make_ct(tmp_path / "ct" / str(number), 3, series_uid=f"1.2.826.0.1.{number}")
    rows = [f"{i},ct,Which part is number {i}?,0,,0.1.{1 + i % 2}" for i in range(6)]
    path = worklist(tmp_path, *rows, header="id,dicom,question,slices,category,series")
    results = run_worklist(grounder(), read_worklist(path, GroundingSettings()), tmp_path / "out")
    assert [done.status for done in results] == ["done"] * 6
    assert len(read) == 6, "six studies of six files"
