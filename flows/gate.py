"""Flow: the gate, which says whether the model becomes the champion."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact, evaluation
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.registry import gate_stage


@flow(name="gate")
def gate(run: Run, dataset: Path, model: Path, result: Path, blank: Path) -> Path:
    """Register the model, compare it with the champion, promote or refuse."""
    return gate_stage.gate(run.context, artifact(dataset), artifact(model), evaluation(result), evaluation(blank)).path
