"""``medreasoner ui``: a workspace's MLflow and Prefect pages."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from rich.console import Console

from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.environment import quiet_environment
from medreasoner_monai.pipeline.prefect_server import port_is_free, prefect_server
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.pipeline.workspace import Workspace


def serve(workspace: Path, mlflow_port: int, prefect_port: int) -> None:
    """Serve both on the loopback address until interrupted.

    Raises
    ------
    InputError
        If nothing was run in the workspace yet, or a port is taken.
    """
    space = Workspace(workspace)
    if not (space.root / "mlflow").is_dir():
        raise InputError(f"nothing was run in {workspace} yet; start with medreasoner run --workspace {workspace} …")
    for port, option in ((mlflow_port, "--mlflow-port"), (prefect_port, "--prefect-port")):
        if not port_is_free(port):
            raise InputError(f"port {port} is taken; choose another with {option}")
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
        with prefect_server(space.prefect_home, None, port=prefect_port):
            console.print(f"MLflow   http://127.0.0.1:{mlflow_port}")
            console.print(f"Prefect  http://127.0.0.1:{prefect_port}")
            console.print("Ctrl-C ends both.")
            pages.wait()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pages.pid, signal.SIGTERM)
        pages.wait()
