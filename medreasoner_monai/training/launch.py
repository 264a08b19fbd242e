"""Start a training in processes of its own, follow what it reports, and end with it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ConfigError, StageFailedError, StoppedError
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.settings.training import DeepSpeedSettings
from medreasoner_monai.training.attempt import LEASE, Attempt, begin
from medreasoner_monai.training.failures import ERRORS, first_error

log = logging.getLogger("medreasoner")

METRICS = "metrics.jsonl"
COMPLETIONS = "completions.jsonl"
LOG = "worker.log"
RANK_LOG = "rank-{}.log"
STOP = "stop"
"""A file of this name in a training's folder asks for an end; it reaches ranks on every machine that shares it."""
STOPPED = "stopped.json"
Row = dict[str, Any]


def run_worker(
    module: str,
    job: Mapping[str, Any],
    folder: Path,
    on_row: Callable[[Row], None],
    *,
    spread: DeepSpeedSettings | None = None,
    note: Callable[[str], None] = log.info,
    lease: float = LEASE,
) -> None:
    """Run ``python -m module job.json`` on the ranks that ``spread`` asks for (one without it) until it ends.

    An exception here, Ctrl-C or SIGTERM ask the ranks to save a checkpoint and end; a second one ends them at once.

    Parameters
    ----------
    module:
        The worker's module; its only argument is the job file.
    job:
        What it is to do, JSON-able.
    folder:
        Its own folder: job, logs, metrics and checkpoints lie there, also after a kill. Ranks on other machines must
        see it under the same path.
    on_row:
        Called with each row of metrics as it is written.
    note:
        Told what a person who waits should know.
    lease:
        Seconds after which ranks end that see no sign of this process.

    Raises
    ------
    StageFailedError
        If it ends with an error; the message holds the first error of any rank and where the whole log is. Or if a rank
        of an earlier attempt does not end, or another process takes the training over.
    StoppedError
        If it was asked to end and saved where it was.
    """
    folder.mkdir(parents=True, exist_ok=True)
    job_file, log_file = folder / "job.json", folder / LOG
    with begin(folder, note, lease) as attempt:
        write_json(job_file, job)
        clear(folder)
        shutil.rmtree(folder / ERRORS, ignore_errors=True)
        if spread is not None and spread.nodes > 1:
            check_port(spread.port)
        rows = Tail(folder / METRICS)
        with log_file.open("ab") as log_to, sigterm_raises():
            worker = subprocess.Popen(
                command(module, job_file, spread, attempt.id),
                stdout=log_to,
                stderr=subprocess.STDOUT,
                env=_environment(),
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call, no lock is taken
                start_new_session=True,  # Ctrl-C is this process's to pass on
            )
            try:
                _follow(worker, attempt, rows, on_row)
            except BaseException:
                end(worker, folder, note, launched=spread is not None and spread.ranks > 1, lost=attempt.lost)
                raise
    for row in rows:
        on_row(row)
    if (step := was_stopped(folder)) is not None and worker.returncode == 0:
        raise StoppedError(f"stopped after step {step}, which is saved; the same command goes on from there")
    if worker.returncode != 0:
        raise StageFailedError(
            f"{module} ended with {_status(worker.returncode)}: {first_error(folder / ERRORS, log_file)} ({log_file})"
        )


def _follow(
    worker: subprocess.Popen[bytes], attempt: Attempt, rows: Iterable[Row], on_row: Callable[[Row], None]
) -> None:
    while worker.poll() is None:
        if attempt.lost:
            raise StageFailedError(f"another process has taken over the training in {attempt.folder}; leave it to that")
        for row in rows:
            on_row(row)
        time.sleep(0.25)


def command(module: str, job_file: Path, spread: DeepSpeedSettings | None, attempt: str = "") -> list[str]:
    """The command that starts a worker on its ranks, each of which is told its attempt's id.

    One rank needs no launcher. Several on one machine are started by torch's, those on several machines by
    DeepSpeed's, which logs in to each machine of the hostfile.
    """
    target = ["-m", module, str(job_file), *([attempt] if attempt else [])]
    if spread is None or spread.ranks == 1:
        return [sys.executable, *target]
    if spread.nodes == 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        return [*launcher, f"--nproc-per-node={spread.processes}", *target]
    launcher = [sys.executable, "-m", "deepspeed.launcher.runner", f"--hostfile={spread.hostfile}"]
    launcher += [f"--num_nodes={spread.nodes}", f"--num_gpus={spread.processes}", f"--master_port={spread.port}"]
    return [*launcher, "--no_local_rank", "--module", *target[1:]]


def end(
    worker: subprocess.Popen[bytes], folder: Path, note: Callable[[str], None], *, launched: bool, lost: bool = False
) -> None:
    """Ask a worker to save and end, and wait for it; whoever loses patience asks a second time.

    One whose folder is another process's by now (``lost``) is ended at once: it must not write, nor ask in there.
    """
    if lost:
        worker.kill()
        worker.wait()
        return
    (folder / STOP).touch()
    if worker.poll() is None:
        note("asked the training to save and end; ask again to end at once")
    try:
        if not launched:  # a launcher would kill its ranks at a SIGTERM rather than let them save
            worker.send_signal(signal.SIGTERM)
        worker.wait()
    except BaseException:
        worker.kill()
        worker.wait()
        raise


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM becomes an exception, so that what is running can be ended in order; in the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise StoppedError("asked to stop; the same command goes on from the last checkpoint")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def check_port(port: int) -> None:
    """See that ranks can meet at a port of this machine.

    Raises
    ------
    ConfigError
        If something else listens there.
    """
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("", port))
        except OSError as error:
            raise ConfigError(f"port {port} cannot be used ({error.strerror}); set another: deepspeed.port") from None


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


def was_stopped(folder: Path) -> int | None:
    """The step at which a training ended on request, if it did."""
    try:
        step: int = json.loads((folder / STOPPED).read_text(encoding="utf-8"))["step"]
    except FileNotFoundError:
        return None
    return step


def clear(folder: Path) -> None:
    """Forget an earlier request."""
    for name in (STOP, STOPPED):
        (folder / name).unlink(missing_ok=True)
