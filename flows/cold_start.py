"""Flow: supervised fine-tuning."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import cold_start_stage


@flow(name="cold-start")
def cold_start(run: Run, dataset: Path, base: Path) -> Path:
    """Fine-tune the base model on traces and answers."""
    return cold_start_stage.cold_start(run.context, artifact(dataset), artifact(base)).path
