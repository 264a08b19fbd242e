"""The firewall: a planted leak of each kind is caught, and what is merely similar is not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.data.firewall import KINDS, REPORT
from medreasoner_monai.data.leaks import check_files
from medreasoner_monai.data.phantoms import render
from medreasoner_monai.data.sample import Sample, SourceRef
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.data.splits import LEDGER
from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, FirewallSettings, ParquetSettings
from medreasoner_monai.task.keypoints import key_points, mask_box
from tests.samples import absent_sample, sample

Image = NDArray[np.uint8]
RUNNER = CliRunner()


def phantom(number: int, image: Image | None = None, **changes: object) -> Sample:
    """A question about a drawn abdomen, or about another picture."""
    drawn = render("ct_abdomen", number)
    name = min(drawn.masks)
    shown = drawn.image if image is None else image
    mask = cv2.resize(drawn.masks[name].astype(np.uint8), shown.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
    made = sample(
        number, image=shown, mask=mask, box=mask_box(mask), points=key_points(mask), group=f"phantom {number}"
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def leaks(tmp_path: Path, train: list[Sample], test: list[Sample]) -> dict[str, int]:
    write_split(tmp_path / "train.parquet", train)
    write_split(tmp_path / "test.parquet", test)
    report, unreadable = check_files({"train": tmp_path / "train.parquet", "test": tmp_path / "test.parquet"})
    assert unreadable == 0
    return {kind: count for kind, count in report.as_dict()["leaks"].items() if count}


TRAIN = [sample(n) for n in range(8)]


def study(uid: str) -> SourceRef:
    return SourceRef("archive", study=uid)


@pytest.mark.parametrize(
    ("planted", "kind"),
    [
        (sample(20, group="g1"), "group"),
        (sample(20, origin=study("1.2.3")), "study"),
        (sample(20, image=sample(3).image, mask=sample(21).mask), "picture"),
        (sample(20, question=sample(3).question.upper(), mask=sample(3).mask), "question"),
    ],
    ids=["group", "study", "picture", "question"],
)
def test_a_planted_leak_is_caught_and_named(tmp_path: Path, planted: Sample, kind: str) -> None:
    train = [replace(s, origin=study("1.2.3" if n == 4 else f"1.2.9.{n}")) for n, s in enumerate(TRAIN)]
    assert leaks(tmp_path, train, [sample(30), planted]) == {kind: 1}


def jpeg(image: Image) -> Image:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], -1), np.uint8)


def shift(image: Image) -> Image:
    warp = np.array([[1, 0, 0.04 * image.shape[1]], [0, 1, -0.03 * image.shape[0]]])
    return np.asarray(cv2.warpAffine(image, warp, image.shape[1::-1]), np.uint8)


def window(image: Image) -> Image:
    return np.clip((image.astype(float) - 20) * 1.2, 0, 255).astype(np.uint8)


COPIES = {
    "compressed": jpeg,
    "half the size": lambda x: np.asarray(cv2.resize(x, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8),
    "moved": shift,
    "brighter": lambda x: (255 * (x / 255) ** 0.7).astype(np.uint8),
    "in another window": window,
    "cropped": lambda x: x[4:-4, 4:-4],
    "padded": lambda x: np.pad(x, 12),
    "mirrored": lambda x: np.ascontiguousarray(x[:, ::-1]),
    "mirrored and compressed": lambda x: jpeg(np.ascontiguousarray(x[:, ::-1])),
}


@pytest.mark.parametrize("change", COPIES.values(), ids=COPIES.keys())
@pytest.mark.parametrize("number", [3, 5])
def test_a_changed_copy_of_a_picture_is_a_near_duplicate(tmp_path: Path, number: int, change: object) -> None:
    copy = change(render("ct_abdomen", number).image)  # type: ignore[operator]
    planted = phantom(number, copy, group="someone else", id="copy", question="Another one?")
    assert leaks(tmp_path, [phantom(n) for n in range(8)], [phantom(30), planted]) == {"near-duplicate": 1}


def test_drawings_of_other_patients_are_no_leak(tmp_path: Path) -> None:
    assert leaks(tmp_path, [phantom(n) for n in range(20)], [phantom(n) for n in range(20, 40)]) == {}


def test_blank_pictures_are_not_near_duplicates_of_each_other(tmp_path: Path) -> None:
    train, test = (sample(n, image=np.full((40, 60), 10 * n, np.uint8)) for n in (1, 2))
    assert leaks(tmp_path, [train], [replace(test, group="other")]) == {}


def test_the_same_question_about_an_absent_target_is_no_leak(tmp_path: Path) -> None:
    train, test = (absent_sample(n, question="Where is the bright area?") for n in (1, 4))
    assert leaks(tmp_path, [train], [test]) == {}


def test_validation_is_held_against_both_sides(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.parquet" for name in ("train", "val", "test")}
    write_split(files["train"], TRAIN)
    write_split(files["val"], [sample(20, group="g0"), sample(22, group="other")])
    write_split(files["test"], [sample(24, group="other")])
    report, _ = check_files(files)
    assert [(k.kind, {k.first.split, k.second.split}) for k in report.examples] == [
        ("group", {"test", "val"}),
        ("group", {"train", "val"}),
    ]
    assert report.samples == {"train": 8, "val": 2, "test": 1}


def settings(tmp_path: Path, planted: Sample, **firewall: object) -> DataSettings:
    write_split(tmp_path / "train.parquet", TRAIN)
    write_split(tmp_path / "val.parquet", [sample(50)])
    write_split(tmp_path / "test.parquet", [sample(30), planted])
    files = {name: tmp_path / f"{name}.parquet" for name in ("train", "val", "test")}
    return DataSettings(
        sources=(ParquetSettings(kind="parquet", **files),),
        firewall=FirewallSettings(**firewall),  # type: ignore[arg-type]
    )


def test_curation_fails_on_a_leak_and_says_what_to_do(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "d.partial", tmp_path / "d.scratch")
    with pytest.raises(InputError) as failed:
        curate_into(draft, settings(tmp_path, sample(20, group="g1")), NoProgress())
    said = str(failed.value)
    assert "group: 1, such as test: test.parquet row 1 (s20) and train: train.parquet row 2 (s2)" in said
    assert "Remedy: leave the division to data.splits" in said and "data.firewall.allow" in said
    assert "g1" not in said.split(), "a patient is not named"


def test_a_kind_that_a_team_accepts_is_recorded(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "d.partial", tmp_path / "d.scratch")
    curate_into(draft, settings(tmp_path, sample(20, group="g1"), allow=("group",)), NoProgress())
    report = json.loads((draft.path / REPORT).read_text())
    assert report["allowed"] == ["group"] and report["leaks"]["group"] == 1 and report["refused"] == []
    assert draft.facts["leaks"]["group"] == 1
    again = settings(tmp_path, sample(20, image=sample(3).image), allow=("group",))
    with pytest.raises(InputError, match="picture: 1"):
        curate_into(Draft(tmp_path / "e.partial", tmp_path / "e.scratch"), again, NoProgress())


def test_a_clean_data_set_has_its_report_and_ledger(tmp_path: Path) -> None:
    draft = Draft(tmp_path / "d.partial", tmp_path / "d.scratch")
    curate_into(draft, settings(tmp_path, sample(20)), NoProgress())
    report = json.loads((draft.path / REPORT).read_text())
    assert report["leaks"] == dict.fromkeys(KINDS, 0) and report["samples"] == {"train": 8, "val": 1, "test": 2}
    ledger = pq.read_table(draft.path / LEDGER)
    assert ledger.num_rows == 7 and set(ledger["rule"].to_pylist()) == {"given"}


def test_command_exits_with_1_on_a_leak(tmp_path: Path) -> None:
    write_split(tmp_path / "a.parquet", TRAIN)
    write_split(tmp_path / "b.parquet", [sample(20, group="g1")])
    write_split(tmp_path / "c.parquet", [sample(30)])
    bad = RUNNER.invoke(app, ["data", "leaks", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")])
    assert bad.exit_code == 1 and "group: test: b.parquet row 0 (s20) and train: a.parquet row 2 (s2)" in bad.stdout
    accepted = ["--allow", "group", "--json"]
    good = RUNNER.invoke(app, ["data", "leaks", str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet"), *accepted])
    assert good.exit_code == 0 and json.loads(good.stdout)["leaks"]["group"] == 1
    assert (
        RUNNER.invoke(app, ["data", "leaks", str(tmp_path / "a.parquet"), str(tmp_path / "c.parquet")]).exit_code == 0
    )


def test_one_file_in_two_places_is_refused(tmp_path: Path) -> None:
    write_split(tmp_path / "a.parquet", TRAIN)
    with pytest.raises(InputError, match="train, test name the same file twice"):
        check_files({"train": tmp_path / "a.parquet", "test": tmp_path / "a.parquet"})
