"""What a stage is given besides its inputs: settings, workspace, tracking and somebody to tell."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.artifacts import Artifact, Draft
from medreasoner_monai.pipeline.progress import LogWatch, Terminal, Watch
from medreasoner_monai.pipeline.stage import run_stage
from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.settings.config import Settings

_terminal: Terminal | None = None


def show_on(terminal: Terminal | None) -> None:
    """Show all stages of this process on a live terminal, or (None) as log lines."""
    global _terminal  # noqa: PLW0603 - a process has one terminal
    _terminal = terminal


@dataclass(frozen=True)
class Context:
    """One run's surroundings."""

    settings: Settings
    workspace: Workspace
    tracking: Tracking = field(repr=False)
    reused: set[str] = field(default_factory=set, repr=False)
    """Keys of the artifacts that were found, not made."""
    parent_run: TrackedRun | None = field(default=None, repr=False)
    """The MLflow run that the stages' runs are shown below."""

    @property
    def threads(self) -> int:
        """CPU threads for the training; part of what makes a run repeatable."""
        return self.settings.threads or os.cpu_count() or 1

    @contextmanager
    def watching(self, name: str) -> Iterator[Watch]:
        """Somebody to tell about a stage's steps."""
        if _terminal is None:
            yield LogWatch(name)
        else:
            with _terminal.stage(name) as watch:
                yield watch

    def stage(
        self,
        kind: str,
        make: Callable[[Draft, Watch], None],
        *,
        inputs: Mapping[str, Artifact],
        settings: Any,
        title: str | None = None,
    ) -> Artifact:
        """Find or make an artifact, saying which."""
        with self.watching(title or kind) as watch:

            def work(draft: Draft) -> None:
                make(draft, watch)

            # The module the stage's code stands in, which is not this one.
            work.__module__ = make.__module__
            return run_stage(
                self.workspace.store,
                kind,
                work,
                inputs=inputs,
                settings=settings,
                reused=lambda a: self._note_reused(a, watch),
            )

    def _note_reused(self, artifact: Artifact, watch: Watch) -> None:
        self.reused.add(artifact.digest)
        watch.step(1, 1)
        watch.note(f"reused {artifact.path.name}")


def open_context(config: Path, workspace: Path, overrides: tuple[str, ...] = ()) -> Context:
    """The context of a config file and a workspace folder."""
    from medreasoner_monai.settings.config import load_settings

    settings = load_settings(config, overrides)
    space = Workspace(workspace)
    tracking = Tracking(
        settings.tracking.mlflow_uri or space.mlflow_uri,
        settings.tracking.experiment,
        None if settings.tracking.mlflow_uri else space.mlflow_artifacts,
        space.root / "mlflow" / "unsent",
    )
    return Context(settings, space, tracking)
