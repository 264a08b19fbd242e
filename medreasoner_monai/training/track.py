"""A training's MLflow run: settings, metrics as they come, curves as pictures at the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import Watch
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.pipeline.tracking import TrackedRun
from medreasoner_monai.training.follow import Follower
from medreasoner_monai.training.rows import measured


class TrainingRun(TrackedRun):
    """A tracked run that raises alarms, keeps completions and can draw its own curves."""

    draft: Draft
    follower: Follower

    def row(self, row: Mapping[str, Any]) -> None:
        """One step's metrics, and whatever else the worker has written by now."""
        super().row({"step": row["step"], **measured(row)})
        self.follower.row(dict(row))

    def curves(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Keep the curves as pictures with the run."""
        from medreasoner_monai.training.curves import save_curves

        folder = self.draft.scratch / "curves"
        folder.mkdir(exist_ok=True)
        for picture in save_curves(rows, folder):
            self.file(picture, "curves")


@contextmanager
def tracked(
    context: Context,
    name: str,
    draft: Draft,
    settings: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    watch: Watch,
) -> Iterator[TrainingRun]:
    """A run for a training; a second attempt at the same draft goes on with the first one's."""
    digests = {f"input.{n}": a.digest for n, a in inputs.items()}
    opened = context.tracking.run(name, draft.scratch, {"stage": name, **digests})
    run = TrainingRun(context.tracking, opened.id, draft.scratch)
    run.draft = draft
    # MLflow inside the workspace may have what lies in the workspace; a server gets no picture unless told so.
    pictures = context.settings.tracking.mlflow_uri is None or context.settings.tracking.pictures
    run.follower = Follower(run, draft.scratch, draft.path, watch, pictures=pictures)
    run.settings(settings)
    run.document(dict(settings), "settings.json")
    try:
        yield run
    finally:
        run.follower.poll()
    run.follower.finish()
    draft.facts["mlflow_run"] = run.id
    run.finish()
