"""Flow: the bundle tried on a DICOM series."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.bundle import ground_stage
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="ground")
def ground(run: Run, bundle: Ref) -> Ref:
    """Ask the bundle a question about a series."""
    return ground_stage.ground(run.context, run.artifact(bundle)).ref
