"""Flow: sources to a curated dataset."""

from __future__ import annotations

from prefect import flow

from flows.common import Run
from medreasoner_monai.data import curate_stage
from medreasoner_monai.pipeline.artifacts import Ref


@flow(name="curate")
def curate(run: Run) -> Ref:
    """Curate the data."""
    return curate_stage.curate(run.context).ref
