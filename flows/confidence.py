"""Flow: how sure the model is, from several answers a question."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact
from medreasoner_monai.evaluation import confidence_stage
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="confidence")
def confidence(run: Run, dataset: Path, model: Path) -> Path | None:
    """Draw several answers a question, on validation and test; nothing where the config asks for fewer than two."""
    measured = confidence_stage.confidence(run.context, artifact(dataset), artifact(model))
    return None if measured is None else measured.artifact.path
