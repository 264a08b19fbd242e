"""Flow: GRPO under DeepSpeed."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import grpo_stage


@flow(name="grpo")
def grpo(run: Run, dataset: Path, start: Path) -> Path:
    """Improve the cold-started model on the rewards of its own answers."""
    return grpo_stage.grpo(run.context, artifact(dataset), artifact(start)).path
