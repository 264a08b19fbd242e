"""A training's MLflow run: settings, metrics as they come, curves as pictures at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.pipeline.tracking import TrackedRun
from medreasoner_monai.training.follow import Follower
from medreasoner_monai.training.launch import COMPLETIONS
from medreasoner_monai.training.rows import measured


class TrainingRun:
    """A tracked run whose rows raise alarms too, and which draws its own curves."""

    def __init__(self, run: TrackedRun, follower: Follower, scratch: Path) -> None:
        self.run, self.follower, self.scratch = run, follower, scratch

    def row(self, row: Mapping[str, Any]) -> None:
        """One step's metrics, and whatever else the worker has written by now."""
        self.run.row({"step": row["step"], "time": row.get("time"), **measured(row)})
        self.follower.row(dict(row))

    def file(self, path: Path, folder: str = "") -> None:
        """Keep a file with the run; the completions only where sample ids may go, since each line names its sample."""
        if path.name != COMPLETIONS or self.follower.sample_ids:
            self.run.file(path, folder)

    def curves(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the curves as pictures with the run."""
        from medreasoner_monai.training.curves import save_curves

        for picture in save_curves(rows, self.scratch / "curves"):
            self.run.file(picture, "curves")


@contextmanager
def tracked(
    context: Context,
    name: str,
    draft: Draft,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    watch: ProgressReporter,
) -> Iterator[TrainingRun]:
    """A run for a training; a second attempt at the same draft goes on with the first one's.

    The run ends as FINISHED, as KILLED where the training was asked to stop, or as FAILED.
    """
    digests = {f"input.{n}": a.digest for n, a in inputs.items()}
    run = context.tracking.run(
        name, draft.scratch, {"stage": name, **digests}, parent=context.parent_run, warn=watch.warn
    )
    # MLflow inside the workspace may have what lies in the workspace; a server gets what the config allows by name.
    tracking = context.settings.tracking
    inside = tracking.mlflow_uri is None
    follower = Follower(
        run,
        draft.scratch,
        draft.path,
        watch,
        pictures=inside or tracking.pictures,
        sample_ids=inside or tracking.sample_ids,
    )
    with run.ending():
        run.settings(settings)
        run.document(dict(settings), "settings.json")
        try:
            yield TrainingRun(run, follower, draft.scratch)
        finally:
            follower.poll()
        follower.finish()
    draft.facts["mlflow_run"] = run.id
