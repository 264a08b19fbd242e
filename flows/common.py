"""What every flow is given: the run. Between flows references to artifacts travel, never paths."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Self

from prefect.runtime import deployment, flow_run
from pydantic import BaseModel, ConfigDict, field_validator

from medreasoner_monai.errors import InputError, nearest
from medreasoner_monai.evaluation.evaluate_stage import Evaluation
from medreasoner_monai.pipeline.artifacts import Artifact, Ref
from medreasoner_monai.pipeline.context import Context, open_context
from medreasoner_monai.pipeline.earlier import import_earlier

STAGES = ("curate", "base", "cold-start", "grpo", "merge", "evaluate", "confidence", "gate", "package", "ground")
"""What ``fresh`` may name."""


class Run(BaseModel):
    """A run by its files; the context behind it is opened once per process."""

    model_config = ConfigDict(frozen=True)

    config: Path
    workspace: Path
    overrides: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    id: str | None = None

    @field_validator("fresh")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in STAGES:
                raise InputError(f"there is no stage {name!r}.{nearest(name, STAGES)} Known: {', '.join(STAGES)}")
        return names

    @property
    def context(self) -> Context:
        """Settings, workspace and tracking."""
        return _open(self)

    def artifact(self, ref: Ref) -> Artifact:
        """The artifact of a reference, fetched from the shared store where it is not in this workspace."""
        return self.context.workspace.store.open(ref)

    def evaluation(self, ref: Ref) -> Evaluation:
        """An evaluation by its reference."""
        return Evaluation(self.artifact(ref))

    @contextmanager
    def recorded(self, chain: str, reason: str) -> Iterator[Self]:
        """Open a run of a chain, and write down how it ends."""
        context = self.context
        import_earlier(context.workspace)
        context.tracking.replay()
        runs = context.workspace.runs
        deployed = deployment.name
        record = runs.start(
            name=context.settings.name,
            chain=chain,
            config=str(self.config),
            overrides=self.overrides,
            settings=context.settings.model_dump(mode="json"),
            trigger=f"Prefect deployment {deployed}" if deployed else "command line",
            reason=reason,
            flow_run=flow_run.get_id(),
        )
        run = self.model_copy(update={"id": record.id})
        with runs.recorded(record.id):
            parent = run.context.parent_run
            assert parent is not None, "a context with a run has a parent run"
            try:
                with parent.ending():
                    yield run
            finally:
                with suppress(OSError), runs.changed(record.id) as written:  # a full disk has its own error
                    written.mlflow_run = parent.id


@cache
def _open(run: Run) -> Context:
    return open_context(run.config, run.workspace, run.overrides, run=run.id, fresh=frozenset(run.fresh))
