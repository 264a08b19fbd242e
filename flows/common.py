"""What every flow is told: the config, the workspace and overrides. Between flows only paths travel."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from medreasoner_monai.evaluation.evaluate_stage import Evaluation
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context, open_context


class Run(BaseModel):
    """A run by its files; the context behind it is opened once a process."""

    model_config = ConfigDict(frozen=True)

    config: Path
    workspace: Path
    overrides: tuple[str, ...] = ()

    @property
    def context(self) -> Context:
        """Settings, workspace and tracking."""
        return _open(self.config, self.workspace, self.overrides)


@cache
def _open(config: Path, workspace: Path, overrides: tuple[str, ...]) -> Context:
    return open_context(config, workspace, overrides)


def artifact(path: Path) -> Artifact:
    """The artifact at a path that another flow returned."""
    return Artifact.open(path)


def evaluation(path: Path, kind: str = "evaluation") -> Evaluation:
    """The evaluation at a path that another flow returned."""
    return Evaluation(Artifact.open(path, kind))
