"""Prefect without anything to start by hand: a server in the workspace that lives as long as the run.

Its address stands in ``server.json`` in its home, so that another process of the same workspace finds it: two servers
on one SQLite file lock each other out.
"""

from __future__ import annotations

import json
import os
import re
import shutil
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
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.environment import quiet_environment
from medreasoner_monai.pipeline.explain import disk_full, is_disk_full
from medreasoner_monai.pipeline.processes import die_with_parent

START_SECONDS = 120.0
ADDRESS = "server.json"
# Its log is a file of its own, and the only place that says why it does not start.
_SERVER = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR", "PREFECT_LOGGING_COLORS": "false", "COLUMNS": "200"}
_ERROR = re.compile(r"[\w.]+(Error|Exception)\b")
_LEAST_ROOM = 1_000_000
_TAIL = 20_000
"""Characters of its log that are searched for why a server did not start."""


@contextmanager
def prefect_server(home: Path, api_url: str | None, *, port: int | None = None) -> Iterator[str]:
    """The address of a Prefect API: the configured one, that of a server that runs in ``home``, or of one started here.

    A server that was started here ends with the block.

    Raises
    ------
    DiskFullError
        If the server cannot start for want of room.
    MedReasonerError
        If the server does not answer in time; the message names its log.
    """
    api_url = api_url or os.environ.get("PREFECT_API_URL")
    if api_url:
        os.environ["PREFECT_API_URL"] = api_url
        yield api_url
        return
    if found := running_server(home):
        os.environ["PREFECT_API_URL"] = found
        try:
            yield found
        finally:
            os.environ.pop("PREFECT_API_URL", None)
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
            env={**os.environ, **_SERVER, "PREFECT_API_URL": url, "PREFECT_UI_API_URL": url},
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call
        )
    try:
        _await(url, server, log)
        write_json(home / ADDRESS, {"url": url, "pid": server.pid, "host": socket.gethostname()})
        os.environ["PREFECT_API_URL"] = url
        yield url
    finally:
        os.environ.pop("PREFECT_API_URL", None)
        (home / ADDRESS).unlink(missing_ok=True)
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
        if is_healthy(url):
            return
        time.sleep(0.3)
    text = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
    # On a full disk not even the log finds room.
    if is_disk_full(RuntimeError(text)) or shutil.disk_usage(log.parent).free < _LEAST_ROOM:
        raise disk_full(log.parent, "starting the Prefect server")
    lines = [line.strip() for line in text.splitlines() if line.strip()] or ["it said nothing"]
    last = next((line for line in reversed(lines) if _ERROR.match(line)), lines[-1])
    raise MedReasonerError(f"the Prefect server did not start: {last[:200]} (its log is {log})")


def running_server(home: Path) -> str | None:
    """The address of a server that another process runs in ``home``, if it answers."""
    try:
        found = json.loads((home / ADDRESS).read_text(encoding="utf-8"))
        url = str(found["url"])
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return url if found.get("host") == socket.gethostname() and is_healthy(url) else None


def configured_server() -> str | None:
    """The address of the API that this process talks to, if one is set."""
    return os.environ.get("PREFECT_API_URL") or None


def is_healthy(url: str) -> bool:
    """Whether a Prefect server answers at an API address, within two seconds."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2):
            return True
    except (urllib.error.URLError, OSError):
        return False


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
