"""Curating: bad samples set aside, splits that share no group, and finished splits kept."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medreasoner_monai.data.curate_stage import REJECTS, SPLITS, curate_into
from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import SCHEMA, read_split, to_row, write_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, ParquetSettings, PhantomSettings
from tests.samples import absent_sample, sample

SITES = ("chest_xray", "brain_mr")


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    return Draft(tmp_path / "dataset.partial", tmp_path / "dataset.scratch")


def splits(draft: Draft) -> dict[str, list[Sample]]:
    return {name: list(read_split(draft.path / f"{name}.parquet")) for name in SPLITS}


def data(*sources: ParquetSettings | PhantomSettings) -> DataSettings:
    return DataSettings(sources=sources)


def source(tmp_path: Path, count: int = 40) -> ParquetSettings:
    write_split(tmp_path / "in.parquet", [sample(n) for n in range(count)])
    write_split(tmp_path / "test.parquet", [sample(n) for n in range(100, 104)])
    return ParquetSettings(kind="parquet", train=tmp_path / "in.parquet", test=tmp_path / "test.parquet", val_share=0.3)


def test_bad_row_is_set_aside_with_its_reason_and_the_rest_kept(tmp_path: Path, draft: Draft) -> None:
    rows = [to_row(sample(n)) for n in range(6)]
    rows[2]["prompt"] = [{"role": "user", "content": ""}]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / "bad.parquet")
    good = source(tmp_path)
    write_split(tmp_path / "val.parquet", [sample(90)])
    given = good.model_copy(update={"train": tmp_path / "bad.parquet", "val": tmp_path / "val.parquet"})
    curate_into(draft, data(given), NoProgress())
    assert [s.id for s in splits(draft)["train"]] == ["s0", "s1", "s3", "s4", "s5"]
    (reject,) = pq.read_table(draft.path / REJECTS).to_pylist()
    assert reject["where"] == "bad.parquet row 2"
    assert "sample s2: the question is empty" in reject["reason"]
    assert draft.facts["rejects"] == 1 and draft.facts["splits"]["train"]["samples"] == 5


def test_bad_row_is_counted_once_when_val_is_taken_from_train(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    rows = [to_row(sample(n)) for n in range(40)]
    rows[2]["prompt"] = []
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), given.train)
    curate_into(draft, data(given), NoProgress())
    assert draft.facts["rejects"] == 1
    assert sum(f["samples"] for f in draft.facts["splits"].values()) == 39 + 4


def test_val_is_taken_from_train_by_group(tmp_path: Path, draft: Draft) -> None:
    curate_into(draft, data(source(tmp_path)), NoProgress())
    found = splits(draft)
    assert len(found["train"]) + len(found["val"]) == 40 and found["val"]
    assert not {s.group for s in found["train"]} & {s.group for s in found["val"]}


def test_more_data_moves_no_group_to_another_split(tmp_path: Path, draft: Draft) -> None:
    curate_into(draft, data(source(tmp_path)), NoProgress())
    more = Draft(tmp_path / "more.partial", tmp_path / "more.scratch")
    curate_into(more, data(source(tmp_path, count=60)), NoProgress())
    before, after = ({s.id for s in splits(d)["val"]} for d in (draft, more))
    assert before <= after


def test_facts_count_what_is_there(tmp_path: Path, draft: Draft) -> None:
    curate_into(draft, data(source(tmp_path)), NoProgress())
    facts = draft.facts["splits"]["test"]
    assert facts["samples"] == 4 and facts["groups"] == 2 and facts["categories"] == {"liver": 2, "spleen": 2}
    assert draft.facts["synthetic"] is False
    assert draft.facts["leaks"] == dict.fromkeys(("group", "study", "picture", "near-duplicate", "question"), 0)
    assert "Checked: group, study, picture" in (draft.path / "card.md").read_text(encoding="utf-8")


def test_facts_count_the_questions_without_a_target(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    write_split(given.test, [sample(100), absent_sample(101), absent_sample(102), absent_sample(103, absent="")])
    rows = [to_row(absent_sample(n)) for n in range(3)] + [to_row(sample(3))]
    rows[1]["masks"] = to_row(sample(1))["masks"]  # marked all the same
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), given.train)
    curate_into(draft, data(given), NoProgress())
    assert draft.facts["splits"]["test"]["absent"] == {"removed": 2, "unspecified": 1}
    assert draft.facts["splits"]["test"]["samples"] == 4
    (reject,) = rejects(draft).items()
    assert reject[0] == "in.parquet row 1" and "says that there is no target but the mask marks" in reject[1]
    kept = [s for name in ("train", "val") for s in splits(draft)[name]]
    assert [s.present for s in sorted(kept, key=lambda s: s.id)] == [False, False, True]


def test_phantoms_are_asked_in_vain_in_every_split(draft: Draft) -> None:
    given = PhantomSettings(
        train=40, val=40, test=40, absent_share=0.3, categories=("liver", "left lung", "brain edema")
    )
    curate_into(draft, data(given), NoProgress())
    for name, samples in splits(draft).items():
        missing = [s.absent for s in samples if not s.present]
        assert 4 <= len(missing) <= 20 and all(missing)
        assert sum(draft.facts["splits"][name]["absent"].values()) == len(missing)


def test_split_without_samples_is_refused_with_the_first_reason(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    bad = to_row(sample(0)) | {"masks": []}
    pq.write_table(pa.Table.from_pylist([bad], SCHEMA), given.train)
    with pytest.raises(
        InputError, match="no sample is left in train; the first was set aside because: in.parquet row 0"
    ):
        curate_into(draft, data(given), NoProgress())


def test_shards_that_an_earlier_attempt_finished_are_kept(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    curate_into(draft, data(given), NoProgress())
    before = {path.name: file_digest(path) for path in draft.path.rglob("*") if path.is_file()}
    shards = sorted((draft.scratch / "shards").glob("*[0-9].parquet"))
    times = {path: path.stat().st_mtime_ns for path in shards}
    shards[-1].with_suffix(".json").unlink()  # as if killed before it was finished
    curate_into(draft, data(given), NoProgress())
    assert [path.stat().st_mtime_ns == times[path] for path in shards] == [True] * (len(shards) - 1) + [False]
    assert {path.name: file_digest(path) for path in draft.path.rglob("*") if path.is_file()} == before


def test_phantoms_share_no_group_between_splits(draft: Draft) -> None:
    curate_into(draft, data(PhantomSettings(sites=SITES, train=6, val=4, test=4)), NoProgress())
    found = splits(draft)
    assert [len(found[s]) for s in SPLITS] == [6, 4, 4]
    groups = [{s.group for s in found[name]} for name in SPLITS]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]
    assert draft.facts["synthetic"] is True and "No patient was involved" in draft.facts["description"]


def test_phantom_samples_are_the_same_each_time() -> None:
    first, second = (list(phantom_samples("train", 3, sites=SITES[:1], per_phantom=2, seed=3)) for _ in range(2))
    assert [(s.id, s.question, s.box) for s in first] == [(s.id, s.question, s.box) for s in second]
    assert first[0].group == first[1].group != first[2].group


def rejects(draft: Draft) -> dict[str, str]:
    return {r["where"]: r["reason"] for r in pq.read_table(draft.path / REJECTS).to_pylist()}


def test_an_id_is_one_samples_in_the_whole_data_set(tmp_path: Path, draft: Draft) -> None:
    write_split(tmp_path / "train.parquet", [sample(0), sample(1), sample(2, id="s0")])
    write_split(tmp_path / "val.parquet", [sample(3), sample(4, id="s1")])
    write_split(tmp_path / "test.parquet", [sample(5, id="s3"), sample(6, id="s0"), sample(7)])
    given = ParquetSettings(kind="parquet", **{name: tmp_path / f"{name}.parquet" for name in SPLITS})
    curate_into(draft, data(given), NoProgress())
    found = splits(draft)
    assert {name: [s.id for s in found[name]] for name in SPLITS} == {
        "train": ["s0", "s1"],
        "val": ["s3"],
        "test": ["s7"],
    }
    assert found["train"][0].question == sample(0).question, "the first one keeps the id"
    assert rejects(draft) == {
        "train.parquet row 2": "sample s0: another sample in train.parquet row 0 has this id; give each sample its own",
        "val.parquet row 1": "sample s1: another sample in train.parquet row 1 has this id; give each sample its own",
        "test.parquet row 0": "sample s3: another sample in val.parquet row 0 has this id; give each sample its own",
        "test.parquet row 1": "sample s0: another sample in train.parquet row 0 has this id; give each sample its own",
    }


def test_a_part_of_train_set_aside_shares_no_id_with_it(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    write_split(given.train, [sample(n, id=f"s{n % 30}") for n in range(40)])
    curate_into(draft, data(given), NoProgress())
    ids = [s.id for name in ("train", "val") for s in splits(draft)[name]]
    assert len(ids) == len(set(ids)) == 30
    assert draft.facts["rejects"] == len(rejects(draft)) == 10


def test_an_attempt_that_goes_on_rejects_what_an_undisturbed_one_does(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    write_split(given.test, [sample(100), sample(3), sample(101)])
    curate_into(draft, data(given), NoProgress())
    before = rejects(draft)
    (draft.path / "test.parquet").unlink()
    curate_into(draft, data(given), NoProgress())
    assert rejects(draft) == before and list(before) == ["test.parquet row 1"]


def test_a_test_split_that_is_the_validation_split_is_refused(tmp_path: Path, draft: Draft) -> None:
    given = source(tmp_path)
    said = "no sample is left in test; .* another sample in test.parquet row 0 has this id"
    with pytest.raises(InputError, match=said):
        curate_into(draft, data(given.model_copy(update={"val": given.test})), NoProgress())


def test_files_of_one_name_without_ids_are_told_apart(tmp_path: Path, draft: Draft) -> None:
    for n, folder in enumerate(SPLITS):
        (tmp_path / folder).mkdir()
        rows = [to_row(sample(10 * n + m)) | {"extra_info": None} for m in range(3)]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / folder / "part.parquet")
    files = {name: tmp_path / name / "part.parquet" for name in SPLITS}
    curate_into(draft, data(ParquetSettings(kind="parquet", **files)), NoProgress())
    found = splits(draft)
    assert [s.id for s in found["train"]] == [f"part.parquet row {n}" for n in range(3)]
    assert [s.id for s in found["test"]] == [f"part.parquet row {n} (3)" for n in range(3)]
