"""Starting and ending the processes that the tests of the apps and of the archive talk to."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import httpx


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 180) -> None:
    """Until something answers.

    Raises
    ------
    RuntimeError
        If the process ends, or nothing answers in time; with the log's end.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.RequestError:
            pass
        time.sleep(0.3)
    raise RuntimeError(f"nothing answers at {url}:\n{log.read_text(errors='replace')[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    """With SIGTERM, and where that takes too long with SIGKILL."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
