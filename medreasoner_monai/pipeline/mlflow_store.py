"""An MLflow server or database as it is met in practice: slow, absent for a while, or gone."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medreasoner_monai.errors import MedReasonerError

FIRST_PAUSE, LONGEST_PAUSE = 15.0, 300.0
"""Seconds without an attempt after a failure; doubled with each further one."""
SLOW = 2.0
"""Seconds from which an attempt counts as slow; then ten times as long passes before the next."""
# MLflow's own values make one request last for minutes. What the user has set counts first.
_BRISK = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ARTIFACT_UPLOAD_DOWNLOAD_TIMEOUT": "30",
}
_SQLITE = "sqlite:///"


class StoreGoneError(MedReasonerError):
    """The MLflow database that this process works with was removed or replaced."""


class MlflowStore:
    """MLflow at a tracking URI, which is its registry too."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._retry_at = 0.0
        self._pause = FIRST_PAUSE
        self._inode: int | None = None
        self.failing = False

    @property
    def is_server(self) -> bool:
        """Whether requests go to a server by HTTP, in place of a database that this process opens."""
        return urlsplit(self.uri).scheme in ("http", "https")

    @property
    def shown(self) -> str:
        """The address as it may be shown: without credentials."""
        parts = urlsplit(self.uri)
        if not parts.hostname:
            return self.uri
        place = parts.hostname + (f":{parts.port}" if parts.port else "")
        return f"{parts.scheme}://{place}{parts.path}"

    @cached_property
    def client(self) -> Any:
        """MLflow's client, telemetry off."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        if self._database is not None:
            self._database.parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @property
    def _database(self) -> Path | None:
        return Path(self.uri.removeprefix(_SQLITE)) if self.uri.startswith(_SQLITE) else None

    def check(self) -> None:
        """See that the database file is the one this process opened; SQLite would go on writing to a removed one.

        Raises
        ------
        StoreGoneError
            If it is not.
        """
        if self._database is None:
            return
        try:
            inode = self._database.stat().st_ino
        except FileNotFoundError:
            inode = None
        if self._inode is None:
            self._inode = inode
        elif inode != self._inode:
            raise StoreGoneError(
                f"the MLflow database {self._database} was removed or replaced while this process used it; start the "
                "same command again: it goes on from here with the database that it finds, or a new one"
            )

    @property
    def due(self) -> bool:
        """Whether it is time to try, after a failure or a slow answer."""
        return time.monotonic() >= self._retry_at

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Requests within fail soon rather than wait; what they raise postpones the next attempt."""
        started = time.monotonic()
        try:
            self.check()
            with _environment(_BRISK):
                yield
            self.check()
        except Exception:
            self._retry_at = time.monotonic() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            raise
        self._pause = FIRST_PAUSE
        spent = time.monotonic() - started
        self._retry_at = time.monotonic() + 10 * spent if self.is_server and spent > SLOW else 0.0


def error_code(error: BaseException) -> str:
    """MLflow's code for an error, such as ``RESOURCE_DOES_NOT_EXIST``; empty for another exception."""
    return str(getattr(error, "error_code", ""))


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables that are not set; undone at the end."""
    added = [name for name in values if name not in os.environ]
    os.environ.update({name: values[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
