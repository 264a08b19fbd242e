"""The bundle through MONAI's own commands, with a real model folder and with a reasoner that always answers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.errors import DicomError
from medreasoner_monai.grounding.outputs import NAMES
from tests.dicom.tools import make_ct
from tests.samples import sample

ROOT = Path(__file__).parents[2]
ANSWERING = '{"_target_": "tests.grounding.fakes.MiddleReasoner"}'


@pytest.fixture
def bundle(untrained_bundle: Path) -> Path:
    return untrained_bundle


def run(bundle: Path, *options: str, config: str = "inference") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", f"configs/{config}.json", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=bundle, env=environment, capture_output=True, text=True, timeout=300)


def test_a_series_and_two_questions_give_all_files(bundle: Path, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 6)
    out = tmp_path / "out"
    done = run(
        bundle, "--dicom_dir", str(tmp_path / "ct"), "--question", "['Which part is bright?', 'And dark?']",
        "--output_dir", str(out), "--reasoner", ANSWERING,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads((out / "answer.json").read_text())
    assert [f["question"] for f in answer["findings"]] == ["Which part is bright?", "And dark?"]
    assert answer["slices_asked"] == list(range(6)) and answer["lineage"]["model_digest"]
    seg = dcmread(out / "seg.dcm")
    assert len(seg.SegmentSequence) == 2
    assert seg.pixel_array.sum() == sum(f["voxels"] for f in answer["findings"]) > 0
    assert sorted(p.name for p in out.iterdir()) == sorted(NAMES)
    assert "CompressedSamples" not in done.stdout + done.stderr, "the patient's name"


def test_an_unreadable_answer_is_nothing_found_with_its_reason(bundle: Path, tmp_path: Path) -> None:
    # pydicom's own CT and the default question, which an untrained model cannot answer
    done = run(bundle, "--output_dir", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    (finding,) = json.loads((tmp_path / "out/answer.json").read_text())["findings"]
    assert finding["status"] == "nothing found" and finding["reason"]
    assert f"finding 1: nothing found ({finding['reason']})" in done.stderr
    assert not (tmp_path / "out/seg.dcm").exists() and not (bundle / "eval").exists()


def test_an_error_ends_with_one_clear_line(bundle: Path, tmp_path: Path) -> None:
    done = run(bundle, "--dicom_dir", str(tmp_path / "nowhere"))
    assert done.returncode == 2
    assert done.stderr.rstrip().splitlines()[-1].startswith(f"error: {tmp_path}/nowhere: no such file")
    assert "Traceback" not in done.stderr
    done = run(bundle, "--seg_kind", "grey")
    assert done.returncode == 2 and "a segmentation is binary, fractional or labelmap; got 'grey'" in done.stderr


def test_a_volume_is_carried_from_the_users_key_slice(bundle: Path, tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 20)
    segmenter = '{"_target_": "medreasoner_monai.segmenters.baselines.WholeBox"}'
    target = '"_target_": "medreasoner_monai.grounding.grounder.Grounder"'
    grounder = f'{{{target}, "reasoner": {ANSWERING}, "segmenter": {segmenter}}}'
    done = run(
        bundle, "--dicom_dir", str(tmp_path / "ct"), "--slices", "3", "--grounder", grounder,
        "--output_dir", str(tmp_path / "out"), config="ground_series",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (finding,) = json.loads((tmp_path / "out/answer.json").read_text())["findings"]
    assert (
        finding["key_slice"] == 3 and sum(s["carried"] for s in finding["slices"]) >= 2 and len(finding["stops"]) == 2
    )


def test_it_evaluates_itself_on_labelled_samples(bundle: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "test.parquet", [sample(n) for n in range(3)])
    options = ("--data", str(tmp_path / "test.parquet"), "--output_dir", str(tmp_path / "out"))
    done = run(bundle, *options, config="evaluate")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out/metrics.json").read_text())["samples"] == 3
    missing = run(bundle, config="evaluate")
    assert missing.returncode == 2 and "needs labelled samples" in missing.stderr


def test_training_needs_a_prefect_server_that_answers(bundle: Path) -> None:
    done = run(bundle, "--prefect_api_url", "http://127.0.0.1:9/api", config="train")
    assert done.returncode == 1 and "error: " in done.stderr and "Traceback" not in done.stderr


def test_a_run_is_tracked_in_mlflow_where_asked(bundle: Path, tmp_path: Path) -> None:
    import mlflow

    uri = f"sqlite:///{tmp_path}/mlflow.db"
    settings = json.dumps(
        {
            "handlers_id": {"evaluator": {"id": "evaluator", "handlers": "handlers"}},
            "configs": {
                "evaluator": {
                    "_target_": "MLFlowHandler",
                    "tracking_uri": uri,
                    "experiment_name": "grounding",
                    "iteration_log": False,
                    "close_on_complete": True,
                }
            },
        }
    )
    (tmp_path / "tracking.json").write_text(settings)
    done = run(
        bundle, "--tracking", str(tmp_path / "tracking.json"), "--reasoner", ANSWERING,
        "--output_dir", str(tmp_path / "out"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    runs = mlflow.tracking.MlflowClient(uri).search_runs(
        [e.experiment_id for e in mlflow.tracking.MlflowClient(uri).search_experiments()]
    )
    assert len(runs) == 1
    told = json.dumps([dict(r.data.params) | dict(r.data.tags) for r in runs])
    assert "CompressedSamples" not in told


def test_our_error_is_found_under_what_monai_wraps_it_in(capsys: pytest.CaptureFixture[str]) -> None:
    from medreasoner_monai.bundle.workflows import explain

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
    assert picture.dtype == np.float32 and picture.shape == (3, 128, 128)
