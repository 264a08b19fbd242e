"""What a stage is given besides its inputs: settings, workspace, tracking, and a progress reporter."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.progress import LogProgress, ProgressReporter, TerminalProgress
from medreasoner_monai.pipeline.remote import Remote
from medreasoner_monai.pipeline.stage import Stage, run_stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.loading import load_settings

_terminal: TerminalProgress | None = None


def show_on(terminal: TerminalProgress | None) -> None:
    """Show all stages of this process on a live terminal, or (None) as log lines."""
    global _terminal  # noqa: PLW0603 - a process has one terminal
    _terminal = terminal


@dataclass(frozen=True)
class Context:
    """One run's surroundings.

    Attributes
    ----------
    run:
        The run's id; None for a stage that is run by itself, which nothing writes down.
    fresh:
        Names of stages that are made again although their artifacts exist.
    """

    settings: Settings
    workspace: Workspace
    tracking: Tracking = field(repr=False)
    run: str | None = None
    fresh: frozenset[str] = frozenset()
    parent_run: TrackedRun | None = field(default=None, repr=False)
    """The MLflow run that the stages' runs are shown below."""
    _done: set[str] = field(default_factory=set, repr=False)
    """What this context made anew on request, once each."""

    @property
    def threads(self) -> int:
        """CPU threads for the training."""
        return self.settings.threads or os.cpu_count() or 1

    @contextmanager
    def watching(self, name: str) -> Iterator[ProgressReporter]:
        """A progress reporter for a stage."""
        if _terminal is None:
            yield LogProgress(name)
        else:
            with _terminal.stage(name) as watch:
                yield watch

    def stage(
        self,
        stage: Stage,
        make: Callable[[Draft, ProgressReporter], None],
        *,
        inputs: Mapping[str, Artifact],
        settings: Any,
        title: str | None = None,
    ) -> Artifact:
        """Find or make a stage's artifact, say which, and write it down in the run.

        Parameters
        ----------
        settings:
            Those that decide the result, JSON-able; they are part of the cache key.
        title:
            For people, where the stage's name is not enough (``evaluate cold start``).
        """
        with self.watching(title or stage.name) as watch:
            made = run_stage(
                self.workspace.store,
                stage,
                lambda draft: make(draft, watch),
                inputs=inputs,
                settings=settings,
                fresh=self._is_fresh(stage, title),
                note=watch.note,
            )
            if made.reused:
                watch.step(1, 1)
                watch.note(f"reused {made.artifact.path.name}")
        if self.run is not None:
            self.workspace.runs.note_artifact(self.run, title or stage.name, made.artifact, reused=made.reused)
        return made.artifact

    def busy(self, stage: Stage, inputs: Mapping[str, Artifact], settings: Any) -> bool:
        """Whether another process or machine seems to be making that artifact; then other work may come first."""
        store = self.workspace.store
        key = stage.key({name: artifact.digest for name, artifact in inputs.items()}, settings)
        return store.find(stage.kind, key) is None and store.busy(stage.kind, key)

    def _is_fresh(self, stage: Stage, title: str | None) -> bool:
        wanted = stage.name in self.fresh and (title or stage.name) not in self._done
        if wanted:
            self._done.add(title or stage.name)
        return wanted


def open_context(
    config: Path,
    workspace: Path,
    overrides: tuple[str, ...] = (),
    *,
    run: str | None = None,
    fresh: frozenset[str] = frozenset(),
) -> Context:
    """The context of a config file and a workspace folder."""
    settings = load_settings(config, overrides)
    space = open_workspace(settings, workspace)
    tracking = Tracking(
        settings.tracking.mlflow_uri or space.mlflow_uri,
        settings.tracking.experiment,
        None if settings.tracking.mlflow_uri else space.mlflow_artifacts,
        space.root / "mlflow" / "unsent",
    )
    parent = None
    if run is not None:
        parent = tracking.open_parent(settings.name, {"run": run}, space.runs.folder(run))
    return Context(settings, space, tracking, run, fresh, parent)


def open_workspace(settings: Settings, workspace: Path) -> Workspace:
    """A workspace, with the store that the settings share it through."""
    store = settings.store
    remote = Remote(store.url, store.options, lease_seconds=store.lease_seconds) if store.url else None
    return Workspace(workspace, remote)
