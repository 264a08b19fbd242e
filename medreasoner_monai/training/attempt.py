"""Attempts at a training: which one owns its folder, whether the driver of it still runs, and which ranks it has.

The driver is the process that runs the stage. Its ranks may run on other machines, where no signal tells them that it
was killed; what all of them share is the training's folder. There the driver keeps the file ``attempt`` with the
attempt's id and a counter that it raises every second, and each rank a file of its own in ``ranks/``. A rank ends when
the file names another attempt, or when the counter has stood still for the lease; and it looks once more before it
writes. A new driver writes its id first, and starts its ranks when those of other attempts are gone.

Nothing depends on clocks of different machines: a process measures with its own how long it has seen no change. Files
are rewritten in place and opened anew for each look, since over NFS a renamed file may be seen a minute late.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from medreasoner_monai.errors import StageFailedError

ATTEMPT = "attempt"
RANKS = "ranks"
BEAT = 1.0
"""Seconds between two changes of a counter."""
LEASE = 120.0
"""Seconds without a beat of the driver after which a rank ends."""
GONE = 10.0
"""Seconds without a beat after which a rank on another machine counts as ended."""
PATIENCE = 120.0
"""Seconds that a driver waits for ranks of another attempt."""
SUPERSEDED = 75
"""Exit code of a rank that ended because its attempt had."""
_SIZE = 256
_CLOSED = "closed"


class Attempt:
    """A driver's side; see :func:`begin`."""

    def __init__(self, folder: Path, lease: float) -> None:
        self.folder, self.lease = folder, lease
        self.id = uuid.uuid4().hex
        self.lost = False
        """Whether another driver has taken the folder over."""
        self._beats = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="attempt", daemon=True)

    def _write(self, name: str) -> None:
        _write(self.folder / ATTEMPT, {"id": name, "beat": self._beats, "lease": self.lease})

    def _renew(self) -> None:
        while not self._ended.wait(BEAT):
            found = _read(self.folder / ATTEMPT)
            if found is not None and found["id"] != self.id:
                self.lost = True
                return
            self._beats += 1
            try:
                self._write(self.id)
            except OSError:  # a disk that is away for a moment; for longer, the ranks cannot write either
                continue

    def open(self) -> None:
        """Own the folder: ranks of other attempts end when they see it."""
        self._write(self.id)
        self._thread.start()

    def close(self) -> None:
        """End the attempt, and with it what ranks there may still be."""
        self._ended.set()
        self._thread.join()
        if not self.lost:
            with suppress(OSError):  # it would hide why the attempt ends
                self._write(_CLOSED)


@contextmanager
def begin(folder: Path, note: Callable[[str], None], lease: float = LEASE) -> Iterator[Attempt]:
    """Own a training's folder within; ranks of earlier attempts have ended when this begins.

    Parameters
    ----------
    note:
        Told that, and for whom, it is waited.
    lease:
        Seconds without a sign of this process after which its ranks end.

    Raises
    ------
    StageFailedError
        If a rank of another attempt does not end.
    """
    attempt = Attempt(folder, lease)
    attempt.open()
    try:
        _wait_for_others(folder / RANKS, attempt.id, note)
        yield attempt
    finally:
        attempt.close()


def _wait_for_others(ranks: Path, mine: str, note: Callable[[str], None]) -> None:
    started = time.monotonic()
    changed: dict[Path, tuple[Any, float]] = {}
    waiting: list[str] = []
    while True:
        now = time.monotonic()
        left = []
        for path in ranks.glob("*-*") if ranks.is_dir() else ():
            if path.name.startswith(mine):
                continue
            who = _read(path) or {}
            if who != changed.get(path, (None, 0.0))[0]:
                changed[path] = (who, now)
            if _ended(who, now - changed[path][1]):
                path.unlink(missing_ok=True)
            else:
                left.append(f"process {who.get('pid', '?')} on {who.get('host', 'an unknown machine')}")
        if not left:
            return
        if now - started > PATIENCE:
            raise StageFailedError(
                f"an earlier attempt at this training still runs as {', '.join(left)}; end it and run the command again"
            )
        if not waiting and now - started > 2 * BEAT:
            waiting = left
            note(f"waiting for an earlier attempt to end: {', '.join(left)}")
        time.sleep(0.1)


def _ended(who: Mapping[str, Any], silent: float) -> bool:
    """Whether a rank has ended: known at once on this machine, elsewhere by its silence."""
    if who.get("machine") is not None and who["machine"] == _machine():
        return _start_of(int(who["pid"])) != who["start"]
    return silent > GONE


class Membership:
    """A rank's side: it watches its attempt in a thread of its own, and ends the process with it."""

    def __init__(self, folder: Path, attempt: str, rank: int) -> None:
        self.file, self.attempt = folder / ATTEMPT, attempt
        self.sign = folder / RANKS / f"{attempt}-{rank}"
        self.about = {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine()}
        self.about["start"] = _start_of(os.getpid())
        self._done = threading.Event()

    def start(self) -> None:
        """Say that this rank is there, and watch."""
        self.check()
        self.sign.parent.mkdir(exist_ok=True)
        _write(self.sign, {**self.about, "beat": 0})
        threading.Thread(target=self._watch, name="attempt", daemon=True).start()

    def check(self) -> None:
        """End the process if the folder is not its attempt's any more."""
        for _ in range(5):
            found = _read(self.file)
            if found is not None:
                break
            time.sleep(0.05)  # met in the middle of a write
        if found is None or found["id"] != self.attempt:
            self.leave("this training has ended, or another attempt at it has begun")

    def _watch(self) -> None:
        beats, last, seen = 0, None, time.monotonic()
        while not self._done.wait(BEAT):
            found = _read(self.file)
            if found is not None:
                if found["id"] != self.attempt:
                    self.leave("this training has ended, or another attempt at it has begun")
                if found["beat"] != last:
                    last, seen = found["beat"], time.monotonic()
                lease = float(found["lease"])
                if time.monotonic() - seen > lease:
                    self.leave(f"the process that started this training has given no sign for {lease:.0f} s")
            beats += 1
            try:
                _write(self.sign, {**self.about, "beat": beats})
            except OSError:  # the folder is away for a moment
                continue

    def end(self) -> None:
        """Take the sign of this rank away."""
        self._done.set()
        with suppress(OSError):
            self.sign.unlink()

    def leave(self, why: str) -> NoReturn:
        """End the process here and now."""
        print(f"{why}: this rank ends", file=sys.stderr, flush=True)  # noqa: T201 - into the rank's log
        self.end()
        os._exit(SUPERSEDED)


_membership: Membership | None = None


def join(folder: Path, attempt: str, rank: int) -> None:
    """Make this process a rank of an attempt."""
    global _membership  # noqa: PLW0603 - a process is one rank
    _membership = Membership(folder, attempt, rank)
    _membership.start()


def check_current() -> None:
    """Before anything is written into a training's folder: end the process if its attempt has ended."""
    if _membership is not None:
        _membership.check()


def end() -> None:
    """Before the process ends by itself."""
    if _membership is not None:
        _membership.end()


def _write(path: Path, value: Mapping[str, Any]) -> None:
    data = json.dumps(value).encode().ljust(_SIZE)
    opened = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(opened, data, 0)
    finally:
        os.close(opened)


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is nothing, or a half of it."""
    try:
        value: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value


@cache
def _machine() -> str | None:
    """Names the machine, its last start and the namespace of process ids; None where that cannot be told."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def _start_of(pid: int) -> str | None:
    """When a process of this machine began, which tells it from a later one of the same id; None if there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]
