"""Flow: a reasoner scored on the test split."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact
from medreasoner_monai.evaluation import evaluate_stage
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="evaluate", flow_run_name="evaluate {name}")
def evaluate(run: Run, dataset: Path, model: Path, name: str, blank: bool = False) -> Path:
    """Score a model; ``blank`` hides the pictures from it."""
    return evaluate_stage.evaluate_model(
        run.context, artifact(dataset), artifact(model), name, blank=blank
    ).artifact.path
