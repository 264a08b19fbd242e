"""A run: one execution of a chain, written down as ``runs/<id>/run.json`` while it works."""

from __future__ import annotations

import getpass
import json
import logging
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from medreasoner_monai.errors import ArtifactError, InputError, MedReasonerError, StoppedError, nearest
from medreasoner_monai.files import package_versions, write_json
from medreasoner_monai.pipeline.artifacts import Artifact, Ref

log = logging.getLogger("medreasoner")

RECORD = "run.json"
_CREDENTIALS = frozenset({"password", "passphrase", "secret", "token", "key"})
"""Names of free-form options that hold a secret; others such as ``key_filename`` say where one is."""
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")
FIGURES = (
    "box_iou",
    "grpo_gain",
    "format_failure_rate",
    "false_positive_rate",
    "false_negative_rate",
    "left_right_confusion",
    "mask_dice",
    "point_dice",
    "test_samples",
    "absent_samples",
    "confidence",
)
"""What of ``summary.json`` a run's record repeats."""
Status = Literal["running", "finished", "failed", "stopped", "interrupted"]


class StageResult(BaseModel):
    """A stage's artifact in a run."""

    model_config = ConfigDict(frozen=True)

    ref: Ref
    seconds: float
    reused: bool


class RunRecord(BaseModel):
    """The content of ``run.json``.

    Attributes
    ----------
    id:
        Sorts by start: ``20261124-210501-starter-3f2a``.
    status:
        ``interrupted`` is never written: a record says ``running``, and its process is gone.
    chain:
        ``retrain``, or ``train`` for training alone.
    started, finished:
        ISO 8601, UTC.
    started_by, trigger, reason:
        Who (``user@host``), what (``command line``, or the Prefect deployment), and why, as far as anybody said.
    settings:
        The config as resolved, overrides applied, secrets masked.
    flow_run, mlflow_run:
        Prefect's flow run; the parent run in MLflow, whose children are the stages'.
    artifacts:
        By stage, in the order they came.
    decision, reasons:
        The gate's.
    figures:
        The main ones of ``summary.json``.
    kept:
        Marked by a person: pruning leaves it alone.
    """

    model_config = ConfigDict(extra="ignore")

    id: str
    name: str
    chain: str
    status: Status
    started: str
    finished: str | None = None
    started_by: str
    trigger: str
    reason: str = ""
    host: str
    pid: int
    config: str
    overrides: tuple[str, ...] = ()
    settings: dict[str, Any] = Field(default_factory=dict)
    packages: dict[str, str] = Field(default_factory=dict)
    flow_run: str | None = None
    mlflow_run: str | None = None
    artifacts: dict[str, StageResult] = Field(default_factory=dict)
    decision: str | None = None
    reasons: list[str] = Field(default_factory=list)
    figures: dict[str, Any] = Field(default_factory=dict)
    error: str | None = None
    kept: bool = False

    @property
    def seconds(self) -> float | None:
        """From start to end; None while it works."""
        if self.finished is None:
            return None
        return (datetime.fromisoformat(self.finished) - datetime.fromisoformat(self.started)).total_seconds()


class Runs:
    """The runs of a workspace."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, id_: str) -> Path:
        """Where a run's record, report and summary lie."""
        return self.root / id_

    def start(
        self,
        *,
        name: str,
        chain: str,
        config: str,
        overrides: tuple[str, ...],
        settings: Mapping[str, Any],
        trigger: str,
        reason: str = "",
        flow_run: str | None = None,
    ) -> RunRecord:
        """Open a new run."""
        now = datetime.now(UTC)
        slug = re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:40] or "run"
        record = RunRecord(
            id=f"{now:%Y%m%d-%H%M%S}-{slug}-{secrets.token_hex(2)}",
            name=name,
            chain=chain,
            status="running",
            started=now.isoformat(timespec="seconds"),
            started_by=f"{_user()}@{socket.gethostname()}",
            trigger=trigger,
            reason=reason,
            host=socket.gethostname(),
            pid=os.getpid(),
            config=config,
            overrides=tuple(_masked_override(o) for o in overrides),
            settings=mask(settings),
            packages=package_versions(),
            flow_run=flow_run,
        )
        self.folder(record.id).mkdir(parents=True)
        self.write(record)
        return record

    def load(self, id_: str) -> RunRecord:
        """The record of a run.

        Parameters
        ----------
        id_:
            The id, a part of it that no other has, or ``latest``.

        Raises
        ------
        InputError
            If there is no such run, or several.
        ArtifactError
            If its record cannot be read.
        """
        known = self.ids()
        if id_ == "latest" and known:
            return self._read(known[-1])
        fitting = [id_] if id_ in known else [k for k in known if id_ in k]
        if len(fitting) == 1:
            return self._read(fitting[0])
        if fitting:
            raise InputError(f"{len(fitting)} runs have {id_!r} in their id: {', '.join(fitting[:5])}; give more of it")
        there = f"the latest is {known[-1]}" if known else "there are no runs yet"
        raise InputError(f"{self.root} has no run {id_!r}.{nearest(id_, known)} `medreasoner runs` lists them; {there}")

    def ids(self) -> list[str]:
        """All, oldest first."""
        return sorted(p.parent.name for p in self.root.glob(f"*/{RECORD}"))

    def all(self) -> Iterator[RunRecord]:
        """All that can be read, oldest first."""
        for id_ in self.ids():
            try:
                yield self._read(id_)
            except ArtifactError:
                continue

    @contextmanager
    def changed(self, id_: str) -> Iterator[RunRecord]:
        """The record to be changed inside the block, and written at its end; flows in several processes take turns."""
        with FileLock(self.folder(id_) / ".lock"):
            record = self._read(id_, as_written=True)
            yield record
            self.write(record)

    def note_artifact(self, id_: str, stage: str, artifact: Artifact, *, reused: bool) -> None:
        """Write down a stage's artifact."""
        with self.changed(id_) as record:
            record.artifacts[stage] = StageResult(ref=artifact.ref, seconds=artifact.seconds, reused=reused)

    @contextmanager
    def recorded(self, id_: str) -> Iterator[None]:
        """Write down how the block ended."""
        status: Status = "failed"
        error: str | None = None
        try:
            yield
            status = "finished"
        except MedReasonerError as problem:
            status, error = "stopped" if isinstance(problem, StoppedError) else "failed", str(problem)
            raise
        except (KeyboardInterrupt, SystemExit):
            status = "stopped"
            raise
        except BaseException as problem:
            # Messages of libraries may quote what stands in a file; their kind does not.
            error = f"unexpected {type(problem).__name__}"
            raise
        finally:
            try:
                with self.changed(id_) as record:
                    record.status, record.error = status, error
                    record.finished = datetime.now(UTC).isoformat(timespec="seconds")
            except OSError as problem:
                # A full disk. Raised here it would hide why the run ended; without an end it counts as interrupted.
                log.warning("the end of run %s could not be written down: %s", id_, problem.strerror or problem)

    def _read(self, id_: str, *, as_written: bool = False) -> RunRecord:
        path = self.folder(id_) / RECORD
        try:
            record = RunRecord.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValidationError, ValueError) as error:
            raise ArtifactError(f"{path} cannot be read ({type(error).__name__}); remove the run's folder") from None
        if not as_written and record.status == "running" and _gone(record):
            record.status = "interrupted"
        return record

    def write(self, record: RunRecord) -> None:
        """Write a record, in place of an earlier one."""
        write_json(self.folder(record.id) / RECORD, json.loads(record.model_dump_json()))


def mask(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as they may be shown: values under names of secrets, and users in addresses, are masked.

    >>> mask({"store": {"url": "sftp://me:pw@host/x", "options": {"password": "pw", "port": 22}}})
    {'store': {'url': 'sftp://host/x', 'options': {'password': '***', 'port': 22}}}
    """
    return {name: _mask(name, value) for name, value in settings.items()}


def _mask(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return mask(value)
    if isinstance(value, str):
        return "***" if name.lower() in _CREDENTIALS else _USER_IN_ADDRESS.sub("", value)
    return value


def _masked_override(text: str) -> str:
    name, equals, value = text.partition("=")
    return f"{name}{equals}{_mask(name.rpartition('.')[2], value)}"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return f"uid {os.getuid()}"


def _gone(record: RunRecord) -> bool:
    """Whether the process that works on a run is dead; unknown on another machine, and then taken to be alive."""
    if record.host != socket.gethostname():
        return False
    try:
        os.kill(record.pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
