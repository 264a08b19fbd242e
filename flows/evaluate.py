"""Flow: a reasoner scored on the test split."""

from __future__ import annotations

from prefect import flow

from flows.common import Run
from medreasoner_monai.evaluation import evaluate_stage
from medreasoner_monai.pipeline.artifacts import Ref


@flow(name="evaluate", flow_run_name="evaluate {name}")
def evaluate(run: Run, dataset: Ref, model: Ref, name: str, blank: bool = False) -> Ref:
    """Score a model; ``blank`` hides the pictures from it."""
    data, scored = run.artifact(dataset), run.artifact(model)
    return evaluate_stage.evaluate_model(run.context, data, scored, name, blank=blank).artifact.ref
