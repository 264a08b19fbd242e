"""A Prefect worker runs the flows as the command line does: checked first, offline, without telemetry."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.pipeline.prefect_server import prefect_server
from tests.integration.conftest import CONFIG, ROOT, environment


class Deployed:
    """The project's deployments on a server of their own, and a worker."""

    def __init__(self, url: str, home: Path) -> None:
        self.url = url
        self.variables = {**environment(), "PREFECT_API_URL": url, "PREFECT_HOME": str(home)}
        self.call("work-pool", "create", "medreasoner", "--type", "process")
        self.call("deploy", "--prefect-file", "flows/prefect.yaml", "--all")

    def call(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(command, env=self.variables, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, name: str, **parameters: Any) -> tuple[Any, list[str]]:
        """The final state of a run by a worker that takes one, and the messages on its page."""
        from prefect.client.orchestration import SyncPrefectClient
        from prefect.client.schemas.filters import LogFilter, LogFilterFlowRunId

        with SyncPrefectClient(self.url) as client:
            deployment = client.read_deployment_by_name(name)
            run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters)
            worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "medreasoner", "--run-once"]
            subprocess.run(worker, env=self.variables, cwd=ROOT, capture_output=True, timeout=300)
            state = client.read_flow_run(run.id).state
            time.sleep(1)
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
        return state, [f"{log.name}: {log.message}" for log in logs]


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with prefect_server(home, None) as url:
            yield Deployed(url, home)


def test_the_preflight_comes_first(deployed: Deployed, tmp_path: Path) -> None:
    state, logs = deployed.run(
        "retrain/scheduled",
        config=str(CONFIG),
        workspace=str(tmp_path / "run"),
        overrides=[f"model.path={tmp_path / 'absent'}"],
    )
    assert state.is_failed()
    assert "ConfigError" in state.message and "absent" in state.message
    assert not (tmp_path / "run" / "artifacts").exists()
    assert not [line for line in logs if "curate" in line]


def test_a_runs_process_starts_without_telemetry(deployed: Deployed) -> None:
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(deployed.url) as client:
        for name in ("retrain/scheduled", "train/train"):
            variables = client.read_deployment_by_name(name).job_variables["env"]
            assert variables == {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    code = "import os, flows; print(os.environ['MLFLOW_DISABLE_TELEMETRY'], os.environ['HF_HUB_OFFLINE'])"
    bare = {k: v for k, v in environment().items() if k not in ("HF_HUB_OFFLINE", "DO_NOT_TRACK")}
    done = subprocess.run([sys.executable, "-c", code], env=bare, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["true", "1"], done.stderr
