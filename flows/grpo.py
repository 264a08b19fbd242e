"""Flow: GRPO under DeepSpeed."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import grpo_stage


@flow(name="grpo")
def grpo(run: Run, dataset: Ref, start: Ref) -> Ref:
    """Improve the cold-started model on the rewards of its own answers."""
    return grpo_stage.grpo(run.context, run.artifact(dataset), run.artifact(start)).ref
