"""Flow: sources to a curated dataset."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.data import curate_stage
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow


@flow(name="curate")
def curate(run: Run) -> Ref:
    """Curate the data."""
    return curate_stage.curate(run.context).ref
