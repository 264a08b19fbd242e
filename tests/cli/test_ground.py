"""`medreasoner ground`, `package` and `bundle verify` as a person meets them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.cli.app import app
from medreasoner_monai.errors import MedReasonerError
from tests.dicom.tools import make_ct, make_xray
from tests.grounding.fakes import MiddleReasoner, grounder


def medreasoner(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def refusal(*arguments: str | Path) -> str:
    error = medreasoner(*arguments).exception
    assert isinstance(error, MedReasonerError) and error.exit_code == 2
    return str(error)


@pytest.fixture
def bundle(untrained_bundle: Path) -> Path:
    return untrained_bundle


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> MiddleReasoner:
    """In place of the bundle's model one that always answers."""
    reasoner = MiddleReasoner()
    monkeypatch.setattr(Bundle, "grounder", lambda *_: grounder(reasoner))
    return reasoner


def test_two_questions_are_answered_and_told(bundle: Path, answering: MiddleReasoner, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 3)
    done = medreasoner(
        "ground", "--bundle", bundle, "--dicom", tmp_path / "ct", "--out", tmp_path / "out",
        "--question", "Which?", "--category", "liver", "--question", "And?", "--category", "",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    # 12 x 16 pixels on all three slices: where the region ends was not seen, so there is no volume.
    told = "576 voxels marked in 3 slice(s)\n{0}: The region may not be whole: it reaches the first slice of the series"
    assert all(f"{n}: {told.format(n)}" in done.stderr for n in (1, 2)) and RESEARCH_USE in done.stderr
    assert done.stdout.split() == [
        str(tmp_path / "out" / name) for name in ("seg.dcm", "report.dcm", "capture.dcm", "overlay.png", "answer.json")
    ]
    first, second = json.loads((tmp_path / "out/answer.json").read_text())["findings"]
    assert first["coded_from"] == "given" and second["coded_from"] == ""


def test_a_fractional_segmentation_of_single_answers_is_refused_before_the_bundle_is_opened(
    bundle: Path, answering: MiddleReasoner, tmp_path: Path
) -> None:
    make_ct(tmp_path / "ct", 3)
    arguments = ("ground", "--bundle", bundle, "--dicom", tmp_path / "ct", "--question", "Which?")
    assert "a single answer has none" in refusal(*arguments, "--out", tmp_path / "out", "--seg", "fractional")
    assert answering.seen == [] and not (tmp_path / "out").exists()


def test_without_a_spacing_voxels_are_told_and_nothing_found_is_no_failure(
    bundle: Path, answering: MiddleReasoner, tmp_path: Path
) -> None:
    xray = make_xray(tmp_path / "xray.dcm")
    arguments = ("ground", "--bundle", bundle, "--dicom", xray, "--question", "Which?", "--out", tmp_path / "out")
    assert "1: 140 voxels marked in 1 slice(s)" in medreasoner(*arguments).stderr
    answering.least = 999
    done = medreasoner(*arguments)
    assert done.exit_code == 0 and "1: nothing found (no answer block)" in done.stderr
    assert not (tmp_path / "out/seg.dcm").exists()


def test_a_dry_run_shows_slices_and_prompt_and_writes_nothing(bundle: Path, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 20)
    done = medreasoner(
        "ground", "--bundle", bundle, "--dicom", tmp_path / "ct", "--question", "Which part?", "--dry-run"
    )
    assert done.exit_code == 0, done.output
    assert "asked: slice 1, 3, 6, 8, 11, 13, 16, 18 (counted from 0, 20 in all)" in done.stdout
    assert "carried: through the other 12" in done.stdout
    assert "[user] Which part?" in done.stdout and "32 x 24" in done.stdout
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ct"]


def test_a_worklist_fails_as_a_whole_only_in_its_exit_code(
    bundle: Path, answering: MiddleReasoner, tmp_path: Path
) -> None:
    make_ct(tmp_path / "ct", 2)
    (tmp_path / "list.csv").write_text("id,dicom,question\na,ct,Which?\nb,gone,Which?\n")
    arguments = ("ground", "--bundle", bundle, "--batch", tmp_path / "list.csv", "--out", tmp_path / "out")
    done = medreasoner(*arguments)
    assert done.exit_code == 1 and "1 of 2 studies done" in done.stderr and "  b: " in done.stderr
    assert (tmp_path / "out/a/seg.dcm").is_file() and len(answering.seen) == 2
    (tmp_path / "list.csv").write_text("id,dicom,question\na,ct,Which?\n")
    assert medreasoner(*arguments).exit_code == 0
    assert len(answering.seen) == 2, "what is done is not asked again"
    dry = medreasoner(*arguments[:-2], "--dry-run")
    assert dry.exit_code == 0 and dry.stdout.startswith("== a\n…") and "chosen: the only image series" in dry.stdout


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ([], "give either --dicom and --question, or --batch"),
        (["--dicom", "x"], "give both --dicom and --question"),
        (["--dicom", "x", "--question", "Q?", "--threshold", "0.5"], "--threshold needs several answers"),
        (["--dicom", "x", "--question", "Q?", "--category", "a", "--category", "b"], "1 question(s) and 2 categories"),
        (["--dicom", "x", "--question", "Q?", "--carry", "maybe"], "carry must be auto, on or off"),
        (["--dicom", "x", "--question", "Q?", "--seg", "grey"], "a segmentation is binary, fractional or labelmap"),
        (["--batch", "none.csv"], "none.csv cannot be read"),
    ],
)
def test_what_does_not_go_together_is_refused(bundle: Path, tmp_path: Path, extra: list[str], message: str) -> None:
    assert message in refusal("ground", "--bundle", bundle, "--out", tmp_path / "out", *extra)
    assert not (tmp_path / "out").exists()


def test_a_model_is_packaged_and_verified(bundle: Path, tmp_path: Path) -> None:
    model = bundle / "models/reasoner"
    made = medreasoner("package", "--model", model, "--out", tmp_path / "b", "--version", "2.0.0", "--limit", "Small.")
    assert made.exit_code == 0 and made.stdout.strip() == str(tmp_path / "b")
    assert "- Small." in (tmp_path / "b/docs/README.md").read_text()
    seen = medreasoner("bundle", "verify", tmp_path / "b", "--quick", "--json")
    assert seen.exit_code == 0
    assert {c["name"]: c["state"] for c in json.loads(seen.stdout)}["metadata schema"] == "skipped"
    (tmp_path / "b/LICENSE").unlink()
    assert medreasoner("bundle", "verify", tmp_path / "b", "--quick").exit_code == 1
    assert "is there already" in refusal("package", "--model", model, "--out", tmp_path / "b")
