"""Prefect without anything to start by hand: a server in the workspace that lives as long as the run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medreasoner_monai.errors import MedReasonerError
from medreasoner_monai.pipeline.environment import quiet_environment
from medreasoner_monai.pipeline.processes import die_with_parent

START_SECONDS = 120.0


@contextmanager
def prefect_server(home: Path, api_url: str | None, *, port: int | None = None) -> Iterator[str]:
    """The address of a Prefect API: the configured one, or a server started here that ends with the block.

    Raises
    ------
    MedReasonerError
        If the server does not answer in time; the message names its log.
    """
    api_url = api_url or os.environ.get("PREFECT_API_URL")
    if api_url:
        os.environ["PREFECT_API_URL"] = api_url
        yield api_url
        return
    home.mkdir(parents=True, exist_ok=True)
    quiet_environment(home)
    port = port or free_port()
    url = f"http://127.0.0.1:{port}/api"
    log = home / "server.log"
    command = [sys.executable, "-m", "uvicorn", "--factory", "prefect.server.api.server:create_app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--timeout-keep-alive", "5"]
    with log.open("ab") as stream:
        server = subprocess.Popen(
            command,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PREFECT_API_URL": url, "PREFECT_UI_API_URL": url},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call
        )
    try:
        _await(url, server, log)
        os.environ["PREFECT_API_URL"] = url
        yield url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


def _await(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise MedReasonerError(f"the Prefect server did not start; its log is {log}")


def send_last_logs() -> None:
    """Hand the flow's last log lines to the server, which is about to end."""
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=5)


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on that port of the loopback address."""
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
