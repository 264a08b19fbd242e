"""Flow: sources to a curated dataset."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from flows.common import Run
from medreasoner_monai.data import curate_stage


@flow(name="curate")
def curate(run: Run) -> Path:
    """Curate the data."""
    return curate_stage.curate(run.context).path
