"""A lease in a shared store: one machine makes an artifact, the others wait, and a dead one is not waited for long.

The holder renews its lease by writing a counter. Nobody compares clocks: an observer takes a lease for abandoned when
its content has not changed for so many seconds of the observer's own time. Two machines that both believe to hold a
lease waste work and harm nothing, since artifacts are content-addressed.
"""

from __future__ import annotations

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol, Self

from medreasoner_monai.errors import RemoteStoreError

log = logging.getLogger("medreasoner")

_RENEWALS = 6
"""A lease is renewed so many times within the seconds after which it counts as abandoned."""
_SETTLE_SECONDS = 0.3
_POLL_SECONDS = 1.0


class SharedFiles(Protocol):
    """Small files that machines share; every call raises RemoteStoreError where they cannot be reached."""

    lease_seconds: float

    def read(self, path: str) -> bytes | None:
        """The content, or None where there is no such file."""
        ...

    def write(self, path: str, data: bytes) -> None:
        """Write or replace."""
        ...

    def remove(self, path: str) -> None:
        """Remove; harmless where there is none."""
        ...

    def fresh_connection(self) -> Self:
        """The same over a connection of its own, for another thread."""
        ...

    def warn_once(self, text: str) -> None:
        """Log a warning the first time."""
        ...


@contextmanager
def hold_lease(
    remote: SharedFiles, path: str, who: Mapping[str, Any], made: Callable[[], bool], note: Callable[[str], None]
) -> Iterator[None]:
    """Hold a lease while the block runs; wait first while somebody else renews theirs.

    Parameters
    ----------
    remote, path:
        Where it lies.
    who:
        The holder, for those who wait.
    made:
        Whether what the lease is for has been finished meanwhile; then waiting ends.
    note:
        Told, once, who is waited for.
    """
    owner = uuid.uuid4().hex
    try:
        held = _wait(remote, path, owner, who, made, note)
    except RemoteStoreError as error:
        remote.warn_once(f"{error}; going on without it")
        yield
        return
    if not held:
        yield
        return
    stop = threading.Event()
    renewing = threading.Thread(target=_renew, args=(remote, path, owner, who, stop), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        stop.set()
        renewing.join()
        with suppress(RemoteStoreError):
            if _owner(remote.read(path)) == owner:
                remote.remove(path)


def _wait(
    remote: SharedFiles,
    path: str,
    owner: str,
    who: Mapping[str, Any],
    made: Callable[[], bool],
    note: Callable[[str], None],
) -> bool:
    """Whether the lease is held; False where what it is for is finished."""
    seen, since, told = remote.read(path), time.monotonic(), False
    while True:
        if seen is None or time.monotonic() - since > remote.lease_seconds:
            remote.write(path, _content(owner, who, 0))
            time.sleep(_SETTLE_SECONDS)  # of several that write at once the last one holds it
            if _owner(seen := remote.read(path)) == owner:
                return True
            since = time.monotonic()
            continue
        if made():
            return False
        if not told:
            note(f"waiting for {_describe(seen)}, which is making {path.rpartition('/')[0]}")
            told = True
        time.sleep(_POLL_SECONDS)
        now = remote.read(path)
        if now != seen:
            seen, since = now, time.monotonic()


def _renew(remote: SharedFiles, path: str, owner: str, who: Mapping[str, Any], stop: threading.Event) -> None:
    own = remote.fresh_connection()
    beat = 0
    while not stop.wait(remote.lease_seconds / _RENEWALS):
        beat += 1
        try:
            if _owner(own.read(path)) not in (owner, None):
                log.warning("another machine took over %s, which this one is still making", path.rpartition("/")[0])
                return
            own.write(path, _content(owner, who, beat))
        except RemoteStoreError as error:
            own.warn_once(f"{error}; the lease is not renewed until it answers")
            own = remote.fresh_connection()


def _content(owner: str, who: Mapping[str, Any], beat: int) -> bytes:
    return json.dumps({"owner": owner, "beat": beat, **who}).encode()


def _owner(data: bytes | None) -> str | None:
    try:
        return None if data is None else str(json.loads(data)["owner"])
    except (ValueError, KeyError, TypeError):  # half written
        return ""


def _describe(data: bytes) -> str:
    try:
        who = json.loads(data)
        return f"process {who['pid']} on {who['host']}"
    except (ValueError, KeyError, TypeError):
        return "another machine"
