"""The package and ground stages: the promoted model as a MONAI bundle, and that bundle tried on a series."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from medreasoner_monai.artifacts import Artifact, Draft, object_digest
from medreasoner_monai.bundle.packaging import NAME, package_bundle
from medreasoner_monai.bundle.result import NO_REGION
from medreasoner_monai.context import Context
from medreasoner_monai.errors import InputError, StageFailedError
from medreasoner_monai.evaluation.stage import Evaluation
from medreasoner_monai.processes import die_with_parent
from medreasoner_monai.watch import Watch

OUTPUTS = ("seg.dcm", "overlay.png", "answer.json")


def package(context: Context, dataset: Artifact, model: Artifact, result: Evaluation, decision: Artifact) -> Artifact:
    """An artifact with the bundle folder ``medreasoner_grounding`` in it."""

    def make(draft: Draft, watch: Watch) -> None:
        package_bundle(model.path, draft.path / NAME, bundle_facts(dataset, model, result, decision))
        watch.step(1, 1)

    inputs = {"dataset": dataset, "model": model, "evaluation": result.artifact, "decision": decision}
    return context.stage("bundle", make, inputs=inputs, settings={}, title="package")


def bundle_facts(dataset: Artifact, model: Artifact, result: Evaluation, decision: Artifact) -> dict[str, Any]:
    """What the model card says: data, figures with intervals, lineage, the gate's word."""
    splits = dataset.facts["splits"]
    metrics = [
        {"name": name, "value": v["mean"], "low": v["low"], "high": v["high"]}
        for name, v in result.metrics["overall"].items()
    ]
    return {
        "trained_on": f"{splits['train']['samples']} samples. {dataset.facts['description']}",
        "evaluated_on": f"Greedy answers to the {splits['test']['samples']} questions of the test split.",
        "dataset_digest": dataset.digest,
        "prompt_digest": result.metrics["prompt_digest"],
        "metrics": metrics,
        "lineage": {
            "dataset": dataset.digest,
            "model": model.digest,
            "evaluation": result.artifact.digest,
            "decision": decision.digest,
            **{f"model input {name}": digest for name, digest in model.manifest["inputs"].items()},
        },
        "decision": f"{decision.facts['decision']}: {'; '.join(decision.facts['reasons'])}",
    }


def ground(context: Context, bundle: Artifact) -> Artifact:
    """An artifact with ``seg.dcm``, ``overlay.png`` and ``answer.json``, made by ``python -m monai.bundle run``.

    It holds none of them, and says why in its facts, when the model found no region.
    """
    chosen = context.settings.ground
    settings = chosen.model_dump(mode="json") | {"files": _listing(chosen.dicom) if chosen.dicom else None}

    def make(draft: Draft, watch: Watch) -> None:
        out = draft.scratch / "out"
        log = draft.scratch / "bundle.log"
        try:
            run_bundle(bundle.path / NAME, out, log, chosen.dicom, chosen.question, chosen.series)
        except StageFailedError as error:
            if not str(error).startswith(NO_REGION):
                raise
            # An answer too: the model found nothing it could point at. The run goes on and says so.
            draft.facts.update(found=False, reason=str(error))
            watch.note(str(error).partition(". ")[0])
            return
        for name in OUTPUTS:
            shutil.copy2(out / name, draft.path / name)
        draft.facts.update(found=True)
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
