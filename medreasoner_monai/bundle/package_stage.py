"""The package stage: the promoted model as a MONAI bundle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from medreasoner_monai.bundle.packaging import NAME, bundle_source, metric_facts, package_bundle
from medreasoner_monai.evaluation.confidence_stage import CALIBRATION
from medreasoner_monai.evaluation.evaluate_stage import Evaluation
from medreasoner_monai.files import tree_digest
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.rewards import suite
from medreasoner_monai.segmenters.registry import identity
from medreasoner_monai.task.prompts import template

STAGE = Stage(
    "package",
    "bundle",
    version=2,
    code=("bundle.packaging",),
    libraries=("monai", "torch", "transformers", "pydicom", "highdicom"),
)


def package(
    context: Context,
    dataset: Artifact,
    model: Artifact,
    result: Evaluation,
    decision: Artifact,
    surety: Evaluation | None = None,
) -> Artifact:
    """An artifact with the bundle folder ``medreasoner_grounding`` in it, the evaluation's first segmenter included."""
    chosen = context.settings.evaluate.segmenters[0]
    rewards, prompt = context.settings.grpo.rewards, template(context.settings.model.prompt)
    suited = suite(rewards.suite, weights=rewards.weights, point_overlap=rewards.point_overlap, think=prompt.think)

    def make(draft: Draft, watch: ProgressReporter) -> None:
        facts = bundle_facts(dataset, model, result, decision, surety) | {"reward_digest": suited.digest}
        package_bundle(model.path, draft.path / NAME, facts, segmenter=chosen)
        watch.step(1, 1)

    inputs = {"dataset": dataset, "model": model, "evaluation": result.artifact, "decision": decision}
    if surety is not None:
        inputs["confidence"] = surety.artifact
    settings = {
        "segmenter": identity(chosen),
        "rewards": suited.digest,
        "template": tree_digest(bundle_source()),
    }
    return context.stage(STAGE, make, inputs=inputs, settings=settings)


def bundle_facts(
    dataset: Artifact, model: Artifact, result: Evaluation, decision: Artifact, surety: Evaluation | None = None
) -> dict[str, Any]:
    """What the model card says: data, figures with intervals, lineage, the gate's word."""
    splits = dataset.facts["splits"]
    facts: dict[str, Any] = {
        "trained_on": f"{splits['train']['samples']} samples. {dataset.facts['description']}",
        "evaluated_on": f"Greedy answers to the {splits['test']['samples']} questions of the test split.",
        "dataset_digest": dataset.digest,
        "prompt_digest": result.metrics["prompt_digest"],
        "metrics": metric_facts(result.metrics),
        "lineage": {
            "dataset": dataset.digest,
            "model": model.digest,
            "evaluation": result.artifact.digest,
            "decision": decision.digest,
            **{f"model input {name}": digest for name, digest in model.manifest["inputs"].items()},
        },
        "decision": f"{decision.facts['decision']}: {'; '.join(decision.facts['reasons'])}",
    }
    if surety is not None:
        limits: list[str] = []
        facts["temperature"] = surety.metrics["temperature"]
        table = surety.artifact.path / CALIBRATION
        calibration = Calibration.read(json.loads(table.read_text(encoding="utf-8"))) if table.is_file() else None
        if calibration is not None:
            facts["calibration"] = calibration.as_dict()
        if (value := surety.metrics["threshold"].get("value")) is not None:
            facts["confidence_threshold"] = value
            of = "agreement" if calibration is None else "expected box IoU"
            asked = f"Asked {surety.metrics['answers']} times per slice"
            limits.append(f"{asked}, regions of a confidence ({of}) under {value:.3f} are withheld.")
        facts["limits"] = [*limits, _worth(surety.metrics["calibrated"])]
    return facts


def _worth(calibrated: Mapping[str, Any]) -> str:
    """What the confidence is worth, in a sentence for the model card."""
    before, after = calibrated["before"], calibrated["after"]
    if before is None:
        return "No region was given when its confidence was measured; what a confidence is worth is not known."
    off = f"The agreement of several answers is off by {before['expected_error']:.3f} as a prediction of box IoU"
    if after is None:
        return f"{off}; it is not calibrated: {calibrated['n']} validation answers, {calibrated['least']} are needed."
    return (
        f"{off}, the confidence calibrated on {calibrated['n']} validation answers by {after['expected_error']:.3f} "
        "(test split). It holds for data like these, for as many answers and the same temperature."
    )
