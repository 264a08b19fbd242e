"""What a whole run leaves behind, and what a second one does."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from mlflow import MlflowClient

from medreasoner_monai.reasoners.folder import check_folder
from tests.integration.conftest import CONFIG, ROOT, ChainRun, environment, run_chain

pytestmark = [pytest.mark.chain, pytest.mark.timeout(900)]


def test_every_stage_left_its_artifact(smoke: ChainRun) -> None:
    kinds = ("dataset", "base", "cold-start", "grpo", "model", "confidence", "decision", "bundle", "grounding")
    assert all(len(smoke.artifacts(kind)) == 1 for kind in kinds)
    assert len(smoke.artifacts("evaluation")) == 4
    assert not list((smoke.workspace / "artifacts").glob("*.partial"))


def test_summary_holds_the_figures_and_where_things_are(smoke: ChainRun) -> None:
    summary = smoke.summary
    assert {"blank_image", "base", "cold_start", "grpo"} == set(summary["box_iou"])
    assert {"difference", "low", "high", "n", "groups"} == set(summary["grpo_gain"])
    assert (smoke.workspace / summary["report"]).is_file()
    assert (smoke.workspace / summary["bundle"] / "configs" / "inference.json").is_file()
    assert summary["decision"] == "promote"
    figures = {"box_iou", "expected_error", "expected_error_before", "calibrated_on", "area_under_risk", "threshold"}
    assert set(summary["confidence"]) == figures
    (confidence,) = smoke.artifacts("confidence")
    # So small a model may give no answer that can be read; then the page says so.
    measured = "confidence" in json.loads((confidence / "metrics.json").read_text(encoding="utf-8"))
    page = (smoke.workspace / summary["report"]).read_text(encoding="utf-8")
    assert 'id="confidence"' in page and ("Confidence could not be measured" in page) != measured
    assert all(seconds >= 0 for seconds in summary["seconds"].values())


def test_merged_model_is_an_ordinary_folder(smoke: ChainRun) -> None:
    (model,) = smoke.artifacts("model")
    config = check_folder(model)
    assert config["architectures"] == ["Qwen2_5_VLForConditionalGeneration"]


def test_mlflow_has_curves_pictures_and_the_champion(smoke: ChainRun) -> None:
    client = MlflowClient(f"sqlite:///{smoke.workspace / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("medreasoner")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    grpo = runs["GRPO"]
    for name in ("reward", "rewards/format_think/mean", "rewards/bbox_iou/mean", "kl", "entropy", "grad_norm",
                 "clip_ratio/region_mean", "time/rollout_share", "speed/completions_per_s"):  # fmt: skip
        assert name in grpo.data.metrics
    assert [s.step for s in client.get_metric_history(grpo.info.run_id, "reward")] == [1, 2, 3, 4]
    kept = {f.path for f in client.list_artifacts(grpo.info.run_id)}
    assert {"curves", "completions", "completions.json", "completions.jsonl", "settings.json"} <= kept
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    rows = [json.loads(line) for line in (smoke.artifacts("grpo")[0] / "metrics.jsonl").read_text().splitlines()]
    times = [round(row["time"] * 1000) for row in rows if "reward" in row]
    assert [m.timestamp for m in client.get_metric_history(grpo.info.run_id, "reward")] == times
    assert client.get_model_version_by_alias("medreasoner", "champion").tags["decision"] == "promote"


def test_second_run_reuses_every_stage_and_says_so(smoke: ChainRun) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in (smoke.workspace / "artifacts").glob("*-*")}
    again = run_chain(smoke.workspace)
    assert {p.name: p.stat().st_mtime_ns for p in (smoke.workspace / "artifacts").glob("*-*")} == before
    assert again.output.count("reused") >= len(before)


@pytest.fixture
def prefect(tmp_path: Path):
    """A Prefect server of its own, and how to call its command line."""
    from medreasoner_monai.pipeline.prefect_server import prefect_server

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
        with prefect_server(tmp_path / "prefect", None) as url:
            variables = {**environment(), "PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path / "prefect")}

            def call(*arguments: str, check: bool = True) -> str:
                command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
                done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=300)
                assert not check or done.returncode == 0, done.stdout + done.stderr
                return done.stdout + done.stderr

            call.variables = variables  # type: ignore[attr-defined]
            yield call


def test_deployed_to_a_server_and_run_from_there(smoke: ChainRun, prefect) -> None:
    (smoke.workspace / "report.html").unlink()
    prefect("work-pool", "create", "medreasoner", "--type", "process")
    prefect("deploy", "--prefect-file", "flows/prefect.yaml", "--all")
    assert "0 2 * * 0" in prefect("deployment", "inspect", "retrain/scheduled")
    parameters = [f"config={CONFIG}", f"workspace={smoke.workspace}"]
    started = prefect("deployment", "run", "retrain/scheduled", *[a for p in parameters for a in ("--param", p)])
    assert "Created flow run" in started
    worker = subprocess.Popen(
        [sys.executable, "-m", "prefect", "worker", "start", "--pool", "medreasoner"],
        env=prefect.variables,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not (smoke.workspace / "report.html").is_file():
            time.sleep(1)
            assert worker.poll() is None
        while time.monotonic() < deadline and states(prefect.variables["PREFECT_API_URL"]) != ["COMPLETED"]:
            time.sleep(1)
        finished = states(prefect.variables["PREFECT_API_URL"])
        lines = logged(prefect.variables["PREFECT_API_URL"])
    finally:
        worker.terminate()
        try:
            worker.wait(60)
        except subprocess.TimeoutExpired:  # now and then it waits for its own threads; the run is what is looked at
            worker.kill()
            worker.wait()
    assert (smoke.workspace / "report.html").is_file()
    assert finished == ["COMPLETED"]
    assert sum("reused" in line for line in lines) >= len(list((smoke.workspace / "artifacts").glob("*-*")))


def logged(api_url: str) -> list[str]:
    """Our own lines on the pages of the server's runs."""
    request = urllib.request.Request(f"{api_url}/logs/filter", b"{}", headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [log["message"] for log in json.load(answer) if log["name"].startswith("medreasoner")]


def states(api_url: str) -> list[str]:
    """The states of the server's `retrain` runs."""
    query = json.dumps({"flows": {"name": {"any_": ["retrain"]}}}).encode()
    request = urllib.request.Request(f"{api_url}/flow_runs/filter", query, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return [run["state_type"] for run in json.load(answer)]
