"""Runs a real training on several CPU ranks as a stage would, for tests that kill it: `ranks.py SPEC.json`.

SPEC has ``worker``, ``job``, ``folder``, ``spread`` and ``kill_at``: when that step is reported this process, and with
it all ranks, is killed with SIGKILL.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from medreasoner_monai.settings.training import DeepSpeedSettings
from medreasoner_monai.training.launch import run_worker

ROOT = Path(__file__).resolve().parents[2]


def start(spec: dict[str, Any]) -> subprocess.Popen[str]:
    """Run a spec in a process of its own."""
    folder = Path(spec["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "spec.json"
    path.write_text(json.dumps(spec))
    # One thread a rank, so that sums are made in the same order every time.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, __file__, str(path)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def main(spec: dict[str, Any]) -> None:
    def row(values: dict[str, Any]) -> None:
        if spec["kill_at"] is not None and values["step"] >= spec["kill_at"]:
            os.kill(os.getpid(), signal.SIGKILL)

    folder = Path(spec["folder"])
    spread = DeepSpeedSettings(**spec["spread"]) if spec["spread"] else None
    run_worker(spec["worker"], spec["job"], folder, row, spread=spread, note=print)


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
