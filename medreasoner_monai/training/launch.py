"""Start a training in processes of its own, follow what it reports, and end with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.artifacts import write_json
from medreasoner_monai.errors import StageFailedError
from medreasoner_monai.processes import die_with_parent

METRICS = "metrics.jsonl"
COMPLETIONS = "completions.jsonl"
LOG = "worker.log"
Row = dict[str, Any]


def run_worker(
    module: str, job: Mapping[str, Any], folder: Path, on_row: Callable[[Row], None], *, processes: int = 1
) -> None:
    """Run ``python -m module job.json`` on ``processes`` ranks until it ends.

    Parameters
    ----------
    module:
        The worker's module; its only argument is the job file.
    job:
        What it is to do, JSON-able.
    folder:
        Its own folder: job, log, metrics and checkpoints lie there, also after a kill.
    on_row:
        Called with each row of metrics as it is written.

    Raises
    ------
    StageFailedError
        If it ends with an error; the message holds the error's last line and where the whole log is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job_file, log_file = folder / "job.json", folder / LOG
    write_json(job_file, job)
    target = ["-m", module, str(job_file)]
    if processes == 1:
        command = [sys.executable, *target]
    else:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command += target
    with log_file.open("ab") as log:
        worker = subprocess.Popen(
            command,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(),
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no lock is taken
        )
        rows = Tail(folder / METRICS)
        try:
            while worker.poll() is None:
                for row in rows:
                    on_row(row)
                time.sleep(0.25)
        except BaseException:
            worker.send_signal(signal.SIGTERM)
            worker.wait()
            raise
    for row in rows:
        on_row(row)
    if worker.returncode != 0:
        raise StageFailedError(
            f"{module} ended with {_status(worker.returncode)}: {_last_error(log_file)} ({log_file})"
        )


class Tail:
    """Iterating gives the JSON rows that were added to a file since the last time.

    A worker that goes on from a checkpoint puts a new file in place of the old one; that is read from its start.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.offset = 0
        self.inode: int | None = None

    def __iter__(self) -> Iterator[Row]:
        if not self.path.is_file():
            return
        with self.path.open("rb") as f:
            inode = os.fstat(f.fileno()).st_ino
            if inode != self.inode:
                self.inode, self.offset = inode, 0
            f.seek(self.offset)
            data = f.read()
        whole = data[: data.rfind(b"\n") + 1]
        self.offset += len(whole)
        for line in whole.splitlines():
            yield json.loads(line)


def read_rows(path: Path) -> list[Row]:
    """All rows of a metrics file."""
    return list(Tail(path))


def _environment() -> dict[str, str]:
    quiet = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    # Freed memory is kept, not given back to the system and asked for anew, page by page, at every step.
    quiet |= {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
    return {**os.environ, **quiet}


def _status(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _last_error(log_file: Path) -> str:
    lines = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-400:]
    errors = [line.strip() for line in lines if "Error" in line and not line.startswith(" ")]
    return errors[0] if errors else next((line.strip() for line in reversed(lines) if line.strip()), "no output")
