"""MLflow tracking: one run a stage, taken up again after a kill. Heavy imports wait until something is tracked."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Tracking:
    """An experiment in an MLflow store; ``artifacts`` is where its files go when the store is a plain database."""

    uri: str
    experiment: str
    artifacts: str | None = None

    @cached_property
    def client(self) -> Any:
        """MLflow's client, telemetry off."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("DO_NOT_TRACK", "true")
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        from mlflow import MlflowClient

        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    @cached_property
    def experiment_id(self) -> str:
        """The experiment, made on first use."""
        found = self.client.get_experiment_by_name(self.experiment)
        if found is not None:
            return str(found.experiment_id)
        return str(self.client.create_experiment(self.experiment, artifact_location=self.artifacts))

    def run(self, name: str, scratch: Path, tags: Mapping[str, str]) -> TrackedRun:
        """The run noted in ``scratch`` by a killed attempt, or a new one."""
        note = scratch / "mlflow_run_id"
        if note.is_file():
            return TrackedRun(self, note.read_text().strip(), scratch)
        run = self.client.create_run(self.experiment_id, run_name=name, tags=dict(tags))
        note.write_text(run.info.run_id)
        return TrackedRun(self, run.info.run_id, scratch)


class TrackedRun:
    """A run in the store."""

    def __init__(self, tracking: Tracking, run_id: str, scratch: Path) -> None:
        self.client = tracking.client
        self.id = run_id
        self._seen = scratch / "mlflow_step"

    def settings(self, values: Mapping[str, Any], prefix: str = "") -> None:
        """Flat parameters, for filtering; the whole settings are kept as a file, since parameters have a limit."""
        for key, value in values.items():
            if isinstance(value, Mapping):
                self.settings(value, f"{prefix}{key}.")
            else:
                self.client.log_param(self.id, prefix + key, str(value)[:500])

    def row(self, row: Mapping[str, float]) -> None:
        """One step's metrics; steps that an earlier attempt logged are passed over.

        A validation has a row of its own beside that of its step, known by names that begin with ``eval_``.
        """
        from mlflow.entities import Metric

        step = int(row["step"])
        validation = any(name.startswith("eval_") for name in row)
        seen = self._seen.with_name(f"{self._seen.name}_validation") if validation else self._seen
        if seen.is_file() and step <= int(seen.read_text()):
            return
        values = {k: v for k, v in row.items() if k not in ("step", "total")}
        self.client.log_batch(self.id, metrics=[Metric(k, v, 0, step) for k, v in values.items()])
        seen.write_text(str(step))

    def figures(self, values: Mapping[str, float]) -> None:
        """Final figures."""
        for name, value in values.items():
            self.client.log_metric(self.id, name, float(value))

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a file with the run."""
        self.client.log_artifact(self.id, str(path), folder or None)

    def document(self, value: Any, name: str) -> None:
        """Keep a JSON-able value with the run."""
        self.client.log_dict(self.id, value, name)

    def table(self, rows: Sequence[Mapping[str, Any]], name: str) -> None:
        """Add rows to a table kept with the run; all have the same columns."""
        columns = {column: [row[column] for row in rows] for column in rows[0]}
        self.client.log_table(self.id, columns, name)

    def tag(self, name: str, value: str) -> None:
        """Set a tag, to search runs by."""
        self.client.set_tag(self.id, name, value[:5000])

    def finish(self) -> None:
        """The run is done."""
        self.client.set_terminated(self.id)
