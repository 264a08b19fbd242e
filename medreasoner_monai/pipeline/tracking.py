"""MLflow tracking, written behind: a stage never waits for MLflow and never fails with it.

Each operation goes to a spool on the disk first (:mod:`~medreasoner_monai.pipeline.spool`) and is sent when MLflow
answers: at once, with a later operation, at the end of the stage, at the next attempt, or by :meth:`Tracking.replay`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from medreasoner_monai.errors import StoppedError
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.mlflow_store import MlflowStore
from medreasoner_monai.pipeline.send import flush
from medreasoner_monai.pipeline.spool import Spool, is_spool, milliseconds

log = logging.getLogger("medreasoner")
SPOOL = "mlflow"
"""The spool's folder in a stage's scratch folder, or in a run's folder."""
MOVED = "mlflow-moved"
_LENGTH = 500
"""Characters of a parameter's value that are kept."""


@dataclass(frozen=True)
class Tracking:
    """An experiment in an MLflow store.

    Attributes
    ----------
    uri, experiment:
        Where MLflow is, and the experiment's name.
    artifacts:
        Where the files of runs go when the store is a plain database; a server decides for itself.
    outbox:
        Folder for the spools of finished stages that could not be sent yet; without one they stay where they are.
    """

    uri: str
    experiment: str
    artifacts: str | None = None
    outbox: Path | None = None

    @cached_property
    def store(self) -> MlflowStore:
        """The server or database, and whether it answers."""
        return MlflowStore(self.uri)

    @property
    def client(self) -> Any:
        """MLflow's client; its requests wait and raise as MLflow's do."""
        return self.store.client

    @property
    def experiment_id(self) -> str:
        """The experiment's id as MLflow has it now; made if absent.

        Raises
        ------
        Exception
            MLflow's, if it does not answer.
        """
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(self.experiment, artifact_location=self.artifacts))

    def known_experiment(self) -> str | None:
        """The experiment's id, or None where MLflow does not answer now."""
        try:
            with self.store.attempt():
                return self.experiment_id
        except Exception as error:
            log.debug("no experiment: %s", error)
            return None

    def run(
        self,
        name: str,
        scratch: Path,
        tags: Mapping[str, str],
        *,
        parent: TrackedRun | None = None,
        warn: Callable[[str], None] = log.warning,
    ) -> TrackedRun:
        """The run that an earlier attempt left in ``scratch``, or a new one; it is running (again).

        Parameters
        ----------
        scratch:
            Folder that an interrupted attempt leaves to the next.
        parent:
            The run that this one is shown below.
        warn:
            Told in one line when MLflow does not take what is sent.
        """
        self.replay()
        moved, folder = scratch / MOVED, scratch / SPOOL
        if moved.is_file() and is_spool(elsewhere := Path(json.loads(moved.read_text(encoding="utf-8")))):
            folder = elsewhere
        if is_spool(folder):
            spool = Spool(folder)
            spool.add({"op": "status", "status": "RUNNING"})
        else:
            moved.unlink(missing_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            above = None if parent is None else parent.reference
            spool = Spool.create(folder, {"name": name, "tags": dict(tags), "parent": above})
        run = TrackedRun(self, spool, scratch, warn)
        run.send()
        return run

    def open_parent(self, name: str, tags: Mapping[str, str], folder: Path) -> TrackedRun:
        """The run that the stages' runs are shown below; ``folder`` is that of the chain's run.

        It need not reach MLflow now. :meth:`TrackedRun.finish` ends it.
        """
        return self.run(name, folder, tags)

    def replay(self) -> int:
        """Send what earlier stages could not; returns how many runs are still waiting.

        Two processes do not replay at once: the second leaves it to the first. A run that was interrupted stays in the
        outbox, sent, until its stage is taken up again.
        """
        if self.outbox is None or not self.outbox.is_dir():
            return 0
        spools = sorted((Spool(p) for p in self.outbox.iterdir() if is_spool(p)), key=lambda s: s.first["time"])
        try:
            with FileLock(self.outbox / ".lock", timeout=0):
                for spool in spools:
                    if not self.flush(spool, log.warning):
                        break
                    if spool.last.get("status") == "FINISHED":
                        shutil.rmtree(spool.folder)
        except Timeout:
            pass
        return sum(1 for spool in spools if spool.pending)

    def flush(self, spool: Spool, warn: Callable[[str], None], *, now: bool = False) -> bool:
        """See :func:`~medreasoner_monai.pipeline.send.flush`."""
        return flush(self.store, lambda: self.experiment_id, spool, warn, now=now)


class TrackedRun:
    """A run of MLflow's. No method raises because of MLflow, and none waits for it longer than a few seconds."""

    def __init__(self, tracking: Tracking, spool: Spool, scratch: Path, warn: Callable[[str], None]) -> None:
        self.tracking, self.spool, self.scratch, self.warn = tracking, spool, scratch, warn
        self._uploaded: dict[str, int] = {}

    @property
    def id(self) -> str | None:
        """MLflow's id, or None while MLflow was not reached."""
        return self.spool.run_id

    @property
    def client(self) -> Any:
        """MLflow's client."""
        return self.tracking.client

    @property
    def reference(self) -> dict[str, Any]:
        """What a child notes of its parent: the token that both carry as a tag, and the id if it is known."""
        return {"token": self.spool.first["token"], "run": self.id}

    def send(self, *, now: bool = False) -> bool:
        """Send what is waiting, unless MLflow failed a moment ago (``now`` tries all the same); whether all is sent."""
        return self.tracking.flush(self.spool, self.warn, now=now)

    def settings(self, values: Mapping[str, Any]) -> None:
        """Flat parameters, for filtering; the whole settings are kept as a file, since parameters have a limit."""
        self._do({"op": "params", "values": dict(_flat(values))})

    def row(self, row: Mapping[str, Any]) -> None:
        """One step's metrics; steps that an earlier attempt logged are passed over.

        Parameters
        ----------
        row:
            ``step``; ``time`` in Unix seconds, now if absent; metrics by name. ``total`` is not a metric. A validation
            has a row of its own beside that of its step, known by names that begin with ``eval_``.
        """
        step = int(row["step"])
        series = "validation" if any(name.startswith("eval_") for name in row) else "training"
        if step <= self.spool.steps.get(series, -1):
            return
        values = {k: float(v) for k, v in row.items() if k not in ("step", "total", "time")}
        time = milliseconds(row.get("time"))
        self._do({"op": "metrics", "series": series, "step": step, "time": time, "values": values})

    def figures(self, values: Mapping[str, float]) -> None:
        """Final figures."""
        numbers = {name: float(value) for name, value in values.items()}
        self._do({"op": "metrics", "step": 0, "time": milliseconds(), "values": numbers})

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a file with the run, as it is now."""
        self.spool.keep(path, folder)
        self.send()

    def document(self, value: Any, name: str) -> None:
        """Keep a JSON-able value with the run."""
        self.spool.keep_text(json.dumps(value, indent=2, ensure_ascii=False, default=str), name)
        self.send()

    def table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Add rows to a table kept with the run (``<name>.json``); all have the same columns.

        MLflow has no way to append to a table. It is uploaded whole when it has grown by a quarter, and at the end, so
        that the work stays in proportion to the rows.
        """
        count = self.spool.append_rows(rows, name)
        if 4 * count >= 5 * self._uploaded.get(name, 0):
            self._uploaded[name] = count
            self._do({"op": "table", "name": name})

    def dataset(self, name: str, digest: str, context: str, profile: Mapping[str, Any]) -> None:
        """Log a data set as an input of the run: its name, digest and counts, never its content or where it lies.

        Parameters
        ----------
        digest:
            Of the data set's artifact; MLflow keeps the first 36 characters.
        context:
            What it is to the run, such as ``curation`` or ``training``.
        profile:
            Counts, JSON-able.
        """
        self._do({"op": "dataset", "name": name, "digest": digest, "context": context, "profile": dict(profile)})

    def tag(self, name: str, value: str) -> None:
        """Set a tag, to search runs by."""
        self._do({"op": "tags", "values": {name: value[:5000]}})

    def finish(self, status: str = "FINISHED") -> None:
        """End the run: ``FINISHED``, ``FAILED`` or ``KILLED``. What could not be sent waits in the outbox."""
        for name in self.spool.rows:
            self.spool.add({"op": "table", "name": name})
        self.spool.add({"op": "status", "status": status, "time": milliseconds()})
        outbox = self.tracking.outbox
        if self.send(now=True) or outbox is None or self.spool.folder.parent == outbox:
            return
        target = outbox / self.spool.first["token"]
        with suppress(OSError):  # on a full disk the spool stays, and the next attempt takes it up here
            write_json(self.scratch / MOVED, str(target))
            self.spool.move(target)

    @contextmanager
    def ending(self) -> Iterator[TrackedRun]:
        """End the run with the block: FINISHED, KILLED where it was asked to stop, FAILED with any other exception."""
        try:
            yield self
        except BaseException as error:
            stopped = isinstance(error, (StoppedError, KeyboardInterrupt, SystemExit))
            with suppress(OSError):  # a full disk may be what ended it; that is the error to tell
                self.finish("KILLED" if stopped else "FAILED")
            raise
        self.finish()

    def _do(self, operation: dict[str, Any]) -> None:
        self.spool.add(operation)
        self.send()


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, str(value)[:_LENGTH]
