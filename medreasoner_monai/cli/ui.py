"""``medreasoner ui``: a workspace's MLflow and Prefect pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.environment import quiet_environment
from medreasoner_monai.pipeline.prefect_server import is_healthy, port_is_free, prefect_server, running_server
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.pipeline.workspace import Workspace


def serve(workspace: Path, mlflow_port: int, prefect_port: int) -> None:
    """Serve both on the loopback address until interrupted; Prefect's are those of a run that is under way, if one is.

    Raises
    ------
    InputError
        If nothing was run in the workspace yet, or a port is taken.
    """
    space = Workspace(workspace)
    if not (space.root / "mlflow").is_dir():
        raise InputError(f"nothing was run in {workspace} yet; start with medreasoner run --workspace {workspace} …")
    _check_port(mlflow_port, "--mlflow-port")
    if running_server(space.prefect_home) is None:
        _check_port(prefect_port, "--prefect-port")
    quiet_environment(space.prefect_home)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", space.mlflow_uri]
    command += ["--host", "127.0.0.1", "--port", str(mlflow_port), "--workers", "1"]
    # Nothing here needs MLflow's job runners, of which it would start eight processes.
    pages = subprocess.Popen(
        command,
        env=dict(os.environ) | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that it ends with the processes it starts
        preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console(stderr=True)
    try:
        console.print(f"MLflow   http://127.0.0.1:{mlflow_port}")
        while pages.poll() is None:
            # A run that is under way has a server of its own, and two on one database lock each other out. It ends
            # with the run; then ours takes its place.
            of_a_run = running_server(space.prefect_home) is not None
            with prefect_server(space.prefect_home, None, port=prefect_port) as url:
                whose = "of the run that is under way" if of_a_run else ""
                console.print(f"Prefect  {url.removesuffix('/api')} {whose}".rstrip(), highlight=False)
                console.print("Ctrl-C ends these pages.")
                while pages.poll() is None and (not of_a_run or is_healthy(url)):
                    time.sleep(1)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pages.pid, signal.SIGTERM)
        pages.wait()


def _check_port(port: int, option: str) -> None:
    if not port_is_free(port):
        raise InputError(f"port {port} is taken; choose another with {option}")
