"""Flow: shards to one model folder."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import merge_stage


@flow(name="merge")
def merge(run: Run, start: Ref, shards: Ref) -> Ref:
    """Merge the shards into a Hugging Face folder."""
    return merge_stage.merge(run.context, run.artifact(start), run.artifact(shards)).ref
