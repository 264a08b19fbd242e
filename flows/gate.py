"""Flow: the gate, which says whether the model becomes the champion."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.registry import gate_stage


@flow(name="gate")
def gate(run: Run, dataset: Ref, model: Ref, result: Ref, blank: Ref) -> Ref:
    """Register the model, compare it with the champion, promote or refuse."""
    data, candidate = run.artifact(dataset), run.artifact(model)
    return gate_stage.gate(run.context, data, candidate, run.evaluation(result), run.evaluation(blank)).ref
