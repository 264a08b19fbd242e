"""The package and ground stages: the promoted model as a MONAI bundle, and that bundle tried on a series."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from medreasoner_monai.artifacts import Artifact, Draft, object_digest
from medreasoner_monai.bundle.outputs import ANSWER, NAMES
from medreasoner_monai.bundle.packaging import NAME, metric_facts, package_bundle
from medreasoner_monai.context import Context
from medreasoner_monai.errors import InputError, StageFailedError
from medreasoner_monai.evaluation.resolve import weights_digests
from medreasoner_monai.evaluation.stage import Evaluation
from medreasoner_monai.processes import die_with_parent
from medreasoner_monai.prompts import template
from medreasoner_monai.rewards import suite
from medreasoner_monai.watch import Watch


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

    def make(draft: Draft, watch: Watch) -> None:
        facts = bundle_facts(dataset, model, result, decision, surety) | {"reward_digest": suited.digest}
        package_bundle(model.path, draft.path / NAME, facts, segmenter=chosen)
        watch.step(1, 1)

    inputs = {"dataset": dataset, "model": model, "evaluation": result.artifact, "decision": decision}
    if surety is not None:
        inputs["confidence"] = surety.artifact
    settings = {"segmenter": chosen, "weights": weights_digests([chosen]), "rewards": suited.digest}
    return context.stage("bundle", make, inputs=inputs, settings=settings, title="package")


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
        facts["temperature"] = surety.metrics["temperature"]
        if (value := surety.metrics["threshold"].get("value")) is not None:
            facts["confidence_threshold"] = value
            facts["limits"] = [
                (
                    f"Asked {surety.metrics['answers']} times a slice, answers of less confidence than {value:.3f} are "
                    "withheld."
                )
            ]
    return facts


def ground(context: Context, bundle: Artifact) -> Artifact:
    """An artifact with the files of an answer, made by ``python -m monai.bundle run``.

    Its facts say whether a region was found, and if not, why; then it holds no ``seg.dcm``.
    """
    chosen = context.settings.ground
    settings = chosen.model_dump(mode="json") | {"files": _listing(chosen.dicom) if chosen.dicom else None}

    def make(draft: Draft, watch: Watch) -> None:
        out = draft.scratch / "out"
        log = draft.scratch / "bundle.log"
        run_bundle(bundle.path / NAME, out, log, chosen.dicom, chosen.question, chosen.series)
        for name in NAMES:
            if (out / name).is_file():
                shutil.copy2(out / name, draft.path / name)
        finding = json.loads((out / ANSWER).read_text(encoding="utf-8"))["findings"][0]
        found = finding["status"] == "found"
        draft.facts.update(found=found, **({} if found else {"reason": f"{finding['status']}: {finding['reason']}"}))
        if not found:
            # An answer too: the run goes on and says so.
            watch.note(f"{finding['status']}: {finding['reason']}")
        watch.step(1, 1)

    return context.stage("grounding", make, inputs={"bundle": bundle}, settings=settings, title="ground")


def run_bundle(root: Path, out: Path, log: Path, dicom: Path | None, question: str, series: str | None) -> None:
    """Run a bundle's inference as a platform would, in a process of its own.

    Raises
    ------
    InputError, StageFailedError
        With the run's own last line: for the user's mistake (exit code 2), for anything else.
    """
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json"]
    command += ["--question", question, "--output_dir", str(out.resolve())]
    command += ["--dicom_dir", str(dicom.resolve())] if dicom else []
    command += ["--series_uid", series] if series else []
    with log.open("wb") as stream:
        done = subprocess.run(
            command,
            cwd=root,
            stdout=stream,
            stderr=subprocess.STDOUT,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            preexec_fn=die_with_parent,
            check=False,
        )
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        said = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        message = said[-1] if said else f"the bundle ended with exit code {done.returncode}, see {log}"
        raise InputError(message) if done.returncode == InputError.exit_code else StageFailedError(message)


def _listing(path: Path) -> str:
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    return object_digest([[str(p), p.stat().st_size, p.stat().st_mtime_ns] for p in files])
