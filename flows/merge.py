"""Flow: shards to one model folder."""

from __future__ import annotations

from pathlib import Path

from flows.common import Run, artifact
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import merge_stage


@flow(name="merge")
def merge(run: Run, start: Path, shards: Path) -> Path:
    """Merge the shards into a Hugging Face folder."""
    return merge_stage.merge(run.context, artifact(start), artifact(shards)).path
