"""Flow: confidence by agreement of several answers per question."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.evaluation import confidence_stage
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="confidence")
def confidence(run: Run, dataset: Ref, model: Ref) -> Ref | None:
    """Sample several answers per question, on validation and test; None if the config asks for fewer than two."""
    measured = confidence_stage.confidence(run.context, run.artifact(dataset), run.artifact(model))
    return None if measured is None else measured.artifact.ref
