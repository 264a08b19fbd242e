"""The bundle through MONAI's own commands, with a real model folder and with a reasoner that always answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.bundle.packaging import package_bundle
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.test_seg import read_back
from tests.dicom.tools import carried, make_ct

ROOT = Path(__file__).parents[2]
ANSWERING = '{"_target_": "tests.bundle.fakes.MiddleReasoner"}'


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle around an untrained model of the real class: it loads and generates, and answers nothing readable."""
    from medreasoner_monai.reasoners.starter import StarterSettings, build

    folder = tmp_path_factory.mktemp("bundle")
    build(folder / "model", ["Which part is bright?"], StarterSettings())
    package_bundle(folder / "model", folder / "bundle", {})
    return folder / "bundle"


def run(bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, timeout=300)


def test_a_series_and_a_question_give_three_files(bundle: Path, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 6)
    out = tmp_path / "out"
    done = run(
        bundle, "--dicom_dir", str(tmp_path / "ct"), "--question", "Which part is bright?",
        "--output_dir", str(out), "--reasoner", ANSWERING,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads((out / "answer.json").read_text())
    assert answer["question"] == "Which part is bright?" and answer["slices_asked"] == 6
    assert answer["lineage"]["model_digest"]
    masks = read_back(out / "seg.dcm", choose_series(tmp_path / "ct"))
    assert masks.sum() == answer["voxels"] and masks.any(axis=(1, 2)).all()
    assert (out / "overlay.png").is_file()
    assert "CompressedSamples" not in done.stdout + done.stderr, "the patient's name"


def test_an_error_ends_with_one_clear_line(bundle: Path) -> None:
    done = run(bundle)  # pydicom's own CT and the default question, which an untrained model cannot answer
    assert done.returncode == 1
    assert done.stderr.rstrip().splitlines()[-1].startswith("error: no region found in 1 of 1 slice(s)")
    assert "Traceback" not in done.stderr
    assert not (bundle / "eval").exists()


def test_our_error_is_found_under_what_monai_wraps_it_in(capsys: pytest.CaptureFixture[str]) -> None:
    from medreasoner_monai.bundle.components import explain

    outer = RuntimeError("Failed to instantiate component")
    outer.__cause__ = DicomError("nowhere: no such file or folder")
    with pytest.raises(SystemExit) as caught:
        explain(RuntimeError, outer, None)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: nowhere: no such file or folder\n"
    explain(ValueError, ValueError("a bug of ours"), None)
    assert "ValueError: a bug of ours" in capsys.readouterr().err


def test_as_a_workflow_in_another_working_directory(bundle: Path, tmp_path: Path) -> None:
    from monai.bundle import create_workflow

    out = tmp_path / "out"
    workflow = create_workflow(
        config_file=str(bundle / "configs/inference.json"),
        workflow_type="inference",
        bundle_root=str(bundle),
        output_dir=str(out),
        segmenter_name="classical",
    )
    assert workflow.check_properties() == []
    # The network is the real model: its parameters are the module's own.
    assert sum(p.numel() for p in workflow.network_def.parameters()) > 1_000_000
    picture = workflow.dataset[0]["image"]
    assert picture.dtype == np.uint8 and picture.shape == (128, 128)


def test_ground_cli_loads_the_model_and_says_when_it_has_no_answer(bundle: Path, tmp_path: Path) -> None:
    from medreasoner_monai.bundle.ground import ground_cli
    from medreasoner_monai.bundle.result import NoFindingError

    with pytest.raises(NoFindingError, match="Nothing was written"):
        ground_cli(bundle, carried("CT_small.dcm"), "Which part is bright?", tmp_path / "out")
    assert not (tmp_path / "out").exists()
