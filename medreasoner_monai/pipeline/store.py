"""Where artifacts lie: a local folder, and behind it, if configured, a remote store that machines share.

Order of safety while an artifact is made: files, manifest, rename to the final name, and only then is the scratch with
its checkpoints removed. What has a final name is whole; a kill between any two steps is taken up by the next attempt.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medreasoner_monai.errors import ArtifactError, InputError, RemoteStoreError
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact, Ref, write_manifest
from medreasoner_monai.pipeline.remote import LEASE, Remote

log = logging.getLogger("medreasoner")

_POLL_SECONDS = 0.5
_CLOCK = "seconds"
Note = Callable[[str], None]


class Draft:
    """An artifact being made: write into ``path``, note ``facts``; what lies there may come from a killed attempt."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self.path = path
        self.facts: dict[str, Any] = {}
        self.scratch = scratch
        """For checkpoints and the like, taken up by a later attempt and removed after the artifact is finished."""
        for folder in (path, scratch):
            folder.mkdir(parents=True, exist_ok=True)


class Store:
    """The artifacts of one workspace, ``<kind>-<key>`` each, and the remote store behind them."""

    def __init__(self, root: Path, remote: Remote | None = None) -> None:
        self.root = root
        self.remote = remote

    def find(self, kind: str, key: str) -> Artifact | None:
        """The finished artifact of a cache key: local, else pulled from the remote store, else None.

        Raises
        ------
        ArtifactError
            If its manifest is damaged or was changed by hand.
        """
        found = self._local(f"{kind}-{key}")
        if found is None and self.remote is not None:
            found = self._ask(lambda remote: self._pull(remote, remote.current(f"{kind}-{key}")))
        return found

    def open(self, ref: Ref) -> Artifact:
        """Exactly the artifact of a reference.

        Raises
        ------
        ArtifactError
            If it is neither here nor in the remote store, or the remote store cannot be reached.
        """
        for name in (ref.name, _by_digest(ref)):
            found = self._local(name)
            if found is not None and found.digest == ref.digest:
                return found
        if self.remote is None:
            raise ArtifactError(f"{self.root} has no {ref.name} with digest {ref.digest[:12]}; run its stage again")
        try:
            pulled = self._pull(self.remote, self.remote.manifest(ref))
        except RemoteStoreError as error:
            raise ArtifactError(f"{ref.name} is not in {self.root}, and {error}") from None
        if pulled is None:
            raise ArtifactError(f"{ref.name} is neither in {self.root} nor in {self.remote.url}; run its stage again")
        return pulled

    @contextmanager
    def claim(self, kind: str, key: str, note: Note = log.info) -> Iterator[None]:
        """Hold a cache key: one process of all that share the store makes its artifact, the others wait for it.

        The kernel lets go of the local lock when a process ends, however it ends; a remote lease runs out.

        Parameters
        ----------
        note:
            Told, once, who is waited for.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        name = f"{kind}-{key}"
        locks = self.root / "locks"
        try:
            locks.mkdir(parents=True, exist_ok=True)
            lock = FileLock(locks / f"{name}.lock")
            holder = locks / f"{name}.json"
            _acquire(lock, holder, name, note)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise InputError(f"the store {self.root} cannot be used: {error.strerror or error}") from None
        try:
            with suppress(OSError):  # it only tells others who works here
                write_json(holder, _whoami())
            if self.remote is None:
                yield
            else:
                with self.remote.lease(name, _whoami(), lambda: self.find(kind, key) is not None, note):
                    yield
            holder.unlink(missing_ok=True)
        finally:
            lock.release()

    def busy(self, kind: str, key: str) -> bool:
        """Whether somebody else seems to be making the artifact of a key; a machine that died may still seem to."""
        name = f"{kind}-{key}"
        lock = FileLock(self.root / "locks" / f"{name}.lock")
        if Path(lock.lock_file).is_file():
            try:
                with lock.acquire(timeout=0):
                    pass
            except (Timeout, OSError):
                return True
        return self.remote is not None and bool(self._ask(lambda remote: remote.read(f"{name}/{LEASE}") is not None))

    @contextmanager
    def make(
        self, kind: str, key: str, inputs: Mapping[str, str], settings: Any, extra: Mapping[str, Any] | None = None
    ) -> Iterator[Draft]:
        """Work on the artifact of a key, which the caller has claimed; when the block ends well, it is finished.

        An artifact that stands under the final name (made anew on request, or with files missing) is replaced in the
        end, and stays until then.
        """
        name = f"{kind}-{key}"
        draft = Draft(self.root / f"{name}.partial", self.root / f"{name}.scratch")
        clock = draft.scratch / _CLOCK
        before, started = _spent(clock), time.monotonic()
        try:
            yield draft
        finally:
            spent = before + time.monotonic() - started
            with suppress(OSError):  # on a full disk it would hide why the stage failed
                clock.write_text(f"{spent:.3f}")
        write_manifest(
            draft.path, kind, key=key, inputs=inputs, settings=settings, facts=draft.facts, seconds=spent, extra=extra
        )
        self._finish(name)

    def take_up(self, kind: str, key: str) -> Artifact | None:
        """Finish what a killed attempt had written to the manifest, and no further; None where there is no such.

        The caller has claimed the key.
        """
        name = f"{kind}-{key}"
        partial = self.root / f"{name}.partial"
        try:
            whole = Artifact.open(partial, kind)
        except ArtifactError:
            return None
        if whole.key != key or whole.missing:
            return None
        self._finish(name)
        return self._local(name)

    def push(self, artifact: Artifact, note: Note = log.info) -> None:
        """Copy an artifact to the remote store; a store that cannot be reached is a warning, made good later."""
        if self.remote is not None:
            self._ask(lambda remote: remote.push(artifact, note))

    def _finish(self, name: str) -> None:
        partial, final, old = (self.root / f"{name}{end}" for end in (".partial", "", ".replaced"))
        if final.is_dir():
            shutil.rmtree(old, ignore_errors=True)
            final.rename(old)
        partial.rename(final)
        self._sweep(name)

    def _sweep(self, name: str) -> None:
        for end in (".scratch", ".replaced"):
            shutil.rmtree(self.root / f"{name}{end}", ignore_errors=True)

    def _local(self, name: str) -> Artifact | None:
        path = self.root / name
        if not path.is_dir():
            return None
        found = Artifact.open(path)
        if missing := found.missing:
            log.warning("%s lacks %s (%d file(s) in all); it is made again", path, missing[0], len(missing))
            return None
        if (self.root / f"{name}.scratch").is_dir() and not (self.root / f"{name}.partial").is_dir():
            self._sweep_idle(name)
        return found

    def _sweep_idle(self, name: str) -> None:
        """Remove the scratch that a kill left beside a finished artifact, unless somebody works there."""
        lock = FileLock(self.root / "locks" / f"{name}.lock")
        try:
            with lock.acquire(timeout=0):
                if not (self.root / f"{name}.partial").is_dir():
                    self._sweep(name)
        except (Timeout, OSError):
            return

    def _pull(self, remote: Remote, manifest: Mapping[str, Any] | None) -> Artifact | None:
        """Fetch an artifact beside its final name, verify it, rename it."""
        if manifest is None:
            return None
        ref = Ref(kind=manifest["kind"], key=manifest["key"], digest=manifest["digest"])
        final = self.root / ref.name
        if final.is_dir():  # of another digest, or with files missing
            final = self.root / _by_digest(ref)
        if final.is_dir():
            return Artifact.open(final)
        work = self.root / f"{_by_digest(ref)}.pulling"
        work.mkdir(parents=True, exist_ok=True)
        remote.pull(ref, manifest, work)
        write_json(work / "manifest.json", manifest)
        try:
            work.rename(final)
        except OSError:  # another process pulled it meanwhile
            if not final.is_dir():
                raise
            shutil.rmtree(work, ignore_errors=True)
        return Artifact.open(final)

    def _ask(self, what: Callable[[Remote], Any]) -> Any:
        """Something of the remote store; None, and a warning, where it cannot be reached."""
        assert self.remote is not None
        try:
            return what(self.remote)
        except RemoteStoreError as error:
            self.remote.warn_once(f"{error}; going on with {self.root} alone")
            return None


def _by_digest(ref: Ref) -> str:
    return f"{ref.name}-{ref.digest[:8]}"


def _acquire(lock: FileLock, holder: Path, name: str, note: Note) -> None:
    told = False
    while True:
        try:
            lock.acquire(timeout=0)
            return
        except Timeout:
            if not told:
                note(f"waiting for {_describe(holder)}, which is making {name}")
                told = True
            time.sleep(_POLL_SECONDS)


def _whoami() -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": Path(sys.argv[0]).name,
    }


def _describe(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {who['pid']} ({who['command']}) on {who['host']} since {who['since']}"
    except (FileNotFoundError, ValueError, KeyError):
        return "another process"


def _spent(clock: Path) -> float:
    try:
        return float(clock.read_text())
    except (FileNotFoundError, ValueError):
        return 0.0
