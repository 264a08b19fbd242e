"""The gate stage: register the merged model, decide, promote or refuse, and write down why."""

from __future__ import annotations

import json
from typing import Any

from medreasoner_monai.evaluation.evaluate_stage import Evaluation, evaluate_model
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.registry.judge import decide
from medreasoner_monai.registry.promotion import CHAMPION, Version, champion, promote, refuse, register

DECISION = "decision.json"
STAGE = Stage("gate", "decision", version=4, code=("registry.judge",))


def gate(context: Context, dataset: Artifact, model: Artifact, result: Evaluation, blank: Evaluation) -> Artifact:
    """An artifact with ``decision.json``. A candidate is judged once; the decision stands until its inputs change."""

    def make(draft: Draft, watch: ProgressReporter) -> None:
        # Written before the registry is touched: an attempt killed in between must not meet itself as champion.
        path = draft.scratch / DECISION
        if not path.is_file():
            write_json(path, judge(context, dataset, model, result, blank))
        decision: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = register(
            context.tracking,
            context.settings.tracking.model_name,
            model.path,
            model.digest,
            result.artifact.facts["mlflow_run"],
        )
        if decision["decision"] == "promote":
            promote(context.tracking, version)
        else:
            refuse(context.tracking, version, decision["reasons"][0])
        decision |= {"model_name": version.name, "version": version.version, "alias": CHAMPION}
        write_json(draft.path / DECISION, decision)
        draft.facts.update(decision=decision["decision"], reasons=decision["reasons"])
        watch.step(1, 1)
        watch.note(f"{decision['decision']}: {decision['reasons'][0]}")

    inputs = {"dataset": dataset, "model": model, "evaluation": result.artifact, "blank": blank.artifact}
    return context.stage(STAGE, make, inputs=inputs, settings=context.settings.gate.deciding())


def judge(
    context: Context, dataset: Artifact, model: Artifact, result: Evaluation, blank: Evaluation
) -> dict[str, Any]:
    """The decision as ``decision.json`` holds it; the champion answers the same samples first."""
    cache = context.workspace.champions
    reigning = champion(context.tracking, context.settings.tracking.model_name, cache)
    if reigning is not None and reigning.digest == model.digest:
        reigning = None
    theirs = evaluate_model(context, dataset, reigning.folder, "champion") if reigning else None
    decision = decide(
        result.metrics,
        blank.metrics,
        context.settings.gate,
        candidate_records=result.records,
        champion_records=theirs.records if theirs else None,
    )
    return decision.as_dict() | {"champion": _about(reigning, theirs)}


def _about(reigning: Version | None, theirs: Evaluation | None) -> dict[str, Any] | None:
    if reigning is None or theirs is None:
        return None
    return {"version": reigning.version, "digest": reigning.digest, "box_iou": theirs.mean("box_iou")}
