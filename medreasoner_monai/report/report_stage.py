"""The report stage: everything the other stages left behind, on one page and in ``summary.json``."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medreasoner_monai.bundle.packaging import NAME
from medreasoner_monai.evaluation.evaluate_stage import Evaluation, compare_evaluations
from medreasoner_monai.evaluation.metrics import mistake_rate
from medreasoner_monai.evaluation.mistakes import MISTAKES
from medreasoner_monai.files import package_versions, write_json
from medreasoner_monai.grounding.outputs import ANSWER, OVERLAY, SEG
from medreasoner_monai.grounding.outputs import REPORT as DICOM_REPORT
from medreasoner_monai.pipeline.artifacts import MANIFEST, Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.runs import FIGURES, RunRecord
from medreasoner_monai.pipeline.workspace import BUNDLE, GROUNDING, REPORT, SUMMARY
from medreasoner_monai.registry.gate_stage import DECISION
from medreasoner_monai.report.inputs import BASE, BLANK, COLD_START, FINAL, Evaluated, ReportInputs
from medreasoner_monai.report.page import write_report
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, richest
from medreasoner_monai.segmenters.registry import Choice
from medreasoner_monai.training.alarms import read_alarms
from medreasoner_monai.training.grpo_stage import sample_completions
from medreasoner_monai.training.launch import METRICS, read_rows

TITLES = {BLANK: "GRPO, blank image", BASE: "Base", COLD_START: "Cold start", FINAL: "GRPO"}
MLFLOW_PORT, PREFECT_PORT = 5000, 4200


@dataclass(frozen=True)
class Finished:
    """A run's artifacts.

    ``bundle`` and ``grounding`` are None when the gate refused, ``confidence`` when it was not asked for.
    """

    config: Path
    dataset: Artifact
    base: Artifact
    cold_start: Artifact
    grpo: Artifact
    model: Artifact
    evaluations: Mapping[str, Evaluation]
    decision: Artifact
    confidence: Evaluation | None = None
    bundle: Artifact | None = None
    grounding: Artifact | None = None

    @property
    def found(self) -> bool:
        """Whether the finished bundle marked a region."""
        return self.grounding is not None and bool(self.grounding.facts["found"])

    def artifacts(self) -> dict[str, Artifact]:
        """Every artifact by stage, in the order of the chain."""
        chain = {
            "curate": self.dataset,
            "base": self.base,
            "cold_start": self.cold_start,
            "grpo": self.grpo,
            "merge": self.model,
            **{f"evaluate {name}": e.artifact for name, e in self.evaluations.items()},
            "confidence": self.confidence.artifact if self.confidence else None,
            "gate": self.decision,
            "package": self.bundle,
            "ground": self.grounding,
        }
        return {name: artifact for name, artifact in chain.items() if artifact is not None}


def report(context: Context, finished: Finished) -> dict[str, Any]:
    """Write ``report.html``, ``summary.json`` and the grounding into the run's folder, and show them at the top.

    Returns
    -------
    The content of ``summary.json``.
    """
    assert context.run is not None, "a report is about a run"
    space, folder = context.workspace, context.workspace.runs.folder(context.run)
    comparisons = {
        pair: compare_evaluations(context, finished.evaluations[pair[0]], finished.evaluations[pair[1]])
        for pair in ((BASE, COLD_START), (COLD_START, FINAL), (BLANK, FINAL))
    }
    summary = summarise(context, finished, comparisons[COLD_START, FINAL]["box_iou"])
    with space.runs.changed(context.run) as record:
        record.decision, record.reasons = summary["decision"], list(summary["reasons"])
        record.figures = {name: summary[name] for name in FIGURES}
    if finished.grounding is not None:
        shutil.copytree(
            finished.grounding.path, folder / GROUNDING, ignore=shutil.ignore_patterns(MANIFEST), dirs_exist_ok=True
        )
    write_report(
        report_inputs(context, record, finished, comparisons), finished.dataset.path / "test.parquet", folder / REPORT
    )
    write_json(folder / SUMMARY, summary)
    if finished.bundle is not None:
        space.publish_bundle(finished.bundle.path / NAME)
    space.show_latest(context.run)
    return summary


def summarise(context: Context, run: Finished, gain: Mapping[str, float]) -> dict[str, Any]:
    """The content of ``summary.json``."""
    final = run.evaluations[FINAL]
    segmenter = Choice.read(context.settings.evaluate.segmenters[0]).label
    return {
        "name": context.settings.name,
        "box_iou": {key: e.mean("box_iou") for key, e in run.evaluations.items()},
        "grpo_gain": dict(gain),
        "format_failure_rate": final.metrics["failure_rate"],
        "mask_dice": final.mean(_mask_measure(final, segmenter)),
        "point_dice": final.mean("point_dice"),
        "test_samples": final.metrics["samples"],
        "absent_samples": final.metrics["absent"]["samples"],
        **{name: mistake_rate(final.metrics, name) for name in MISTAKES},
        "confidence": None if run.confidence is None else dict(run.confidence.artifact.facts["confidence"]),
        "decision": run.decision.facts["decision"],
        "reasons": run.decision.facts["reasons"],
        "run": context.run,
        "report": REPORT,
        "bundle": BUNDLE if run.bundle else None,
        "seg": f"{GROUNDING}/{SEG}" if run.found else None,
        "dicom_report": f"{GROUNDING}/{DICOM_REPORT}" if run.grounding else None,
        "no_seg_because": _why_no_seg(run),
        "seconds": {name: artifact.seconds for name, artifact in run.artifacts().items()},
        "digests": {name: artifact.digest for name, artifact in run.artifacts().items()},
    }


def _mask_measure(evaluation: Evaluation, segmenter: str) -> str:
    """The segmenter's Dice from the richest prompt that it was trained on."""
    measured = [kind for kind in PROMPT_KINDS if f"dice/{segmenter}/{kind}" in evaluation.metrics["overall"]]
    return f"dice/{segmenter}/{richest(measured)}"


def _why_no_seg(run: Finished) -> str | None:
    if run.grounding is None:
        return "the gate refused the model"
    return None if run.found else str(run.grounding.facts["reason"])


def report_inputs(
    context: Context, record: RunRecord, run: Finished, comparisons: Mapping[tuple[str, str], Mapping[str, Any]]
) -> ReportInputs:
    """Gather what the page shows."""
    settings, space = context.settings, context.workspace
    reused = {stage.ref.digest for stage in record.artifacts.values() if stage.reused}
    grounding = None
    if run.grounding is not None:
        grounding = {
            "answer": json.loads((run.grounding.path / ANSWER).read_text(encoding="utf-8")),
            "overlay": run.grounding.path / OVERLAY,
            "seg": f"{GROUNDING}/{SEG}" if run.found else None,
            "report": f"{GROUNDING}/{DICOM_REPORT}",
        }
    return ReportInputs(
        title=settings.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=settings.model_dump(mode="json"),
        config_path=run.config.name,
        packages=package_versions(),
        dataset={"digest": run.dataset.digest, **run.dataset.facts},
        evaluated=[Evaluated(key, TITLES[key], e.metrics, e.records) for key, e in run.evaluations.items()],
        comparisons=[{"a": a, "b": b, "measures": measures} for (a, b), measures in comparisons.items()],
        cold_start_curve=read_rows(run.cold_start.path / METRICS),
        grpo_curve=read_rows(run.grpo.path / METRICS),
        confidence=run.confidence.metrics if run.confidence else None,
        decision=json.loads((run.decision.path / DECISION).read_text(encoding="utf-8")),
        grounding=grounding,
        stages=[
            {
                "name": name,
                "seconds": a.seconds,
                "digest": a.digest,
                "path": space.relative(a.path),
                "reused": a.digest in reused,
                "inputs": dict(a.manifest["inputs"]),
            }
            for name, a in run.artifacts().items()
        ],
        links=links(context, record),
        how_to_open=f"medreasoner ui --workspace {space.root.name}",
        completions=sample_completions(run.grpo.path),
        alarms=[
            {"stage": stage, **asdict(alarm)}
            for stage, artifact in (("Base", run.base), ("Cold start", run.cold_start), ("GRPO", run.grpo))
            for alarm in read_alarms(artifact.path)
        ],
        model=dict(run.base.facts),
        run_id=record.id,
        started=f"{record.started_by} ({record.reason or record.trigger})",
    )


def links(context: Context, run: RunRecord) -> dict[str, str]:
    """Where MLflow and Prefect show this run: the team's servers, or this machine's once ``medreasoner ui`` runs."""
    tracking = context.settings.tracking
    mlflow = (
        tracking.mlflow_uri if (tracking.mlflow_uri or "").startswith("http") else f"http://127.0.0.1:{MLFLOW_PORT}"
    )
    prefect = (tracking.prefect_api_url or f"http://127.0.0.1:{PREFECT_PORT}/api").removesuffix("/api")
    experiment = context.tracking.known_experiment()
    found = {"MLflow": f"{mlflow}/#/experiments/{experiment}" if experiment else f"{mlflow}"}
    if run.flow_run:
        found["Prefect"] = f"{prefect}/runs/flow-run/{run.flow_run}"
    return found
