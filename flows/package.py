"""Flow: the promoted model as a MONAI bundle."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.bundle import package_stage
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="package")
def package(run: Run, dataset: Ref, model: Ref, result: Ref, decision: Ref, confidence: Ref | None = None) -> Ref:
    """Fill the bundle."""
    return package_stage.package(
        run.context,
        run.artifact(dataset),
        run.artifact(model),
        run.evaluation(result),
        run.artifact(decision),
        run.evaluation(confidence) if confidence else None,
    ).ref
