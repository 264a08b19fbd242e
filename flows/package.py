"""Flow: the promoted model as a MONAI bundle."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact, evaluation
from medreasoner_monai.bundle import package_stage
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="package")
def package(run: Run, dataset: Path, model: Path, result: Path, decision: Path, surety: Path | None = None) -> Path:
    """Fill the bundle."""
    sure = evaluation(surety, "confidence") if surety else None
    return package_stage.package(
        run.context, artifact(dataset), artifact(model), evaluation(result), artifact(decision), sure
    ).path
