"""Flow: the promoted model as a MONAI bundle."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.common import Run, artifact, evaluation
from medreasoner_monai.bundle import stage


@flow(name="package")
def package(run: Run, dataset: Path, model: Path, result: Path, decision: Path) -> Path:
    """Fill the bundle."""
    return stage.package(run.context, artifact(dataset), artifact(model), evaluation(result), artifact(decision)).path
