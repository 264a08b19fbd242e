"""Flow: reasoners scored on the test split."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from flows.common import Run
from medreasoner_monai.evaluation import evaluate_stage
from medreasoner_monai.pipeline.artifacts import Ref
from medreasoner_monai.pipeline.prefect_flow import flow


class Scored(NamedTuple):
    """A model to score: its reference, a name for people, and whether the pictures are hidden from it."""

    model: Ref
    name: str
    blank: bool = False


@flow(name="evaluate", flow_run_name="evaluate {name}")
def evaluate(run: Run, dataset: Ref, model: Ref, name: str, blank: bool = False) -> Ref:
    """Score a model; ``blank`` hides the pictures from it."""
    data, scored = run.artifact(dataset), run.artifact(model)
    return evaluate_stage.evaluate_model(run.context, data, scored, name, blank=blank).artifact.ref


def evaluate_all(run: Run, dataset: Ref, models: Mapping[str, Scored]) -> dict[str, Ref]:
    """Score several models. They do not depend on each other: what another machine is at comes last."""
    data = run.artifact(dataset)
    found: dict[str, Ref] = {}
    while waiting := [key for key in models if key not in found]:
        free = (k for k in waiting if not evaluate_stage.is_busy(run.context, data, run.artifact(models[k].model),
                                                                 blank=models[k].blank))  # fmt: skip
        key = next(free, waiting[0])
        found[key] = evaluate(run, dataset, *models[key])
    return {key: found[key] for key in models}
