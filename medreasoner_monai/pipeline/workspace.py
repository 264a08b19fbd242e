"""A workspace: the folder one run lives in, used by one process at a time."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from medreasoner_monai.errors import InputError, WorkspaceBusyError
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Store


class Workspace:
    """Paths below one folder, its artifacts and its lock."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    @cached_property
    def store(self) -> Store:
        """The artifacts."""
        return Store(self.root / "artifacts")

    @property
    def report(self) -> Path:
        """The page a person opens."""
        return self.root / "report.html"

    @property
    def summary(self) -> Path:
        """The same for machines."""
        return self.root / "summary.json"

    @property
    def mlflow_uri(self) -> str:
        """The tracking database, when no server is configured."""
        return f"sqlite:///{self.root / 'mlflow' / 'mlflow.db'}"

    @property
    def mlflow_artifacts(self) -> str:
        """Where runs keep pictures and files, when no server is configured."""
        return (self.root / "mlflow" / "artifacts").as_uri()

    @property
    def prefect_home(self) -> Path:
        """Where Prefect keeps its database, when no server is configured."""
        return self.root / "prefect"

    def relative(self, path: Path) -> str:
        """A path as it reads from the workspace."""
        return str(path.resolve().relative_to(self.root))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the workspace; the kernel lets go of it when the process ends, however it ends.

        Raises
        ------
        WorkspaceBusyError
            If another process holds it; the message says which.
        InputError
            If the folder cannot be written.
        """
        holder = self.root / "holder.json"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.root / ".lock")
            lock.acquire(timeout=0)
        except Timeout:
            raise WorkspaceBusyError(f"{self.root} is in use by {_describe(holder)}; wait, or use another") from None
        except OSError as error:
            raise InputError(f"the workspace {self.root} cannot be used: {error.strerror}") from None
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            command = Path(sys.argv[0]).name
            write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": since, "command": command})
            yield
            holder.unlink(missing_ok=True)
        finally:
            lock.release()


def _describe(holder: Path) -> str:
    try:
        who = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {who['pid']} ({who['command']}) on {who['host']} since {who['since']}"
    except (FileNotFoundError, ValueError, KeyError):
        return "another process"
