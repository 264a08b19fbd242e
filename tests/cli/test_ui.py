"""`medreasoner ui` beside a run: it shows the run's Prefect server, and starts its own when that has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from medreasoner_monai.pipeline.prefect_server import free_port, is_healthy, prefect_server
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from tests.integration.conftest import ROOT, environment


def line_with(word: str, stream: IO[str]) -> str:
    for line in stream:
        if word in line:
            return line
    raise AssertionError(f"it ended without a word of {word}")


def test_the_runs_server_is_shown_then_one_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Workspace(tmp_path / "run")
    assert Tracking(space.mlflow_uri, "medreasoner", space.mlflow_artifacts).experiment_id
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(space.prefect_home))
    port = free_port()
    with prefect_server(space.prefect_home, None) as url:
        command = [sys.executable, "-m", "medreasoner_monai", "ui", "--workspace", str(space.root)]
        command += ["--mlflow-port", str(free_port()), "--prefect-port", str(port)]
        pages = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
        assert pages.stderr is not None
        try:
            shown = line_with("Prefect", pages.stderr)
            assert shown.strip() == f"Prefect  {url.removesuffix('/api')} of the run that is under way"
            assert not is_healthy(f"http://127.0.0.1:{port}/api")
        except BaseException:
            pages.kill()
            raise
    try:
        assert line_with("Prefect", pages.stderr).strip() == f"Prefect  http://127.0.0.1:{port}"
        assert is_healthy(f"http://127.0.0.1:{port}/api")
    finally:
        pages.terminate()
        pages.wait(60)
