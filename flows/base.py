"""Flow: the model that training starts from."""

from __future__ import annotations

from flows.common import Run
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.training import base_stage


@flow(name="base")
def base(run: Run, dataset: Ref) -> Ref:
    """Take the model folder the config names, or build the starter."""
    return base_stage.base_model(run.context, run.artifact(dataset)).ref
