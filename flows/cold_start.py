"""Flow: supervised fine-tuning."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import cold_start_stage


@flow(name="cold-start")
def cold_start(run: Run, dataset: Ref, base: Ref) -> Ref:
    """Fine-tune the base model on traces and answers."""
    return cold_start_stage.cold_start(run.context, run.artifact(dataset), run.artifact(base)).ref
