"""The evaluate stage: reasoners scored on the test split, each an artifact of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreasoner_monai.data.schema import read_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.answerers import ModelAnswerer
from medreasoner_monai.evaluation.metrics import compare, mistake_means, summarise
from medreasoner_monai.evaluation.records import METRICS, SAMPLES, Record, read_records, write_records
from medreasoner_monai.evaluation.resolve import segmenters
from medreasoner_monai.evaluation.scoring import evaluate
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter, pick
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.segmenters.registry import identity

STAGE = Stage(
    "evaluate",
    "evaluation",
    version=4,
    code=("evaluation.scoring", "evaluation.answerers", "evaluation.metrics", "reasoners.hf"),
    libraries=("torch", "transformers", "numpy", "monai", "opencv-python-headless"),
    numeric=True,
)


@dataclass(frozen=True)
class Evaluation:
    """A finished evaluation, read back."""

    artifact: Artifact

    @property
    def records(self) -> list[Record]:
        """Per sample."""
        return read_records(self.artifact.path / SAMPLES)

    @property
    def metrics(self) -> dict[str, Any]:
        """Means with intervals."""
        metrics: dict[str, Any] = json.loads((self.artifact.path / METRICS).read_text(encoding="utf-8"))
        return metrics

    def mean(self, measure: str) -> float:
        """An overall mean by name."""
        return float(self.metrics["overall"][measure]["mean"])


def evaluate_model(
    context: Context, dataset: Artifact, model: Artifact | Path, name: str, *, blank: bool = False
) -> Evaluation:
    """Score a model folder on the test split.

    Parameters
    ----------
    model:
        A checkpoint or model artifact, or a folder from elsewhere (a champion), which counts by its digest.
    name:
        For people, such as ``cold start``.
    blank:
        Show a black picture in place of each image.
    """
    folder = model if isinstance(model, Path) else model.path

    def make(draft: Draft, watch: ProgressReporter) -> None:
        evaluate_into(context, draft, dataset, folder, watch, blank=blank)
        track(context, draft, name)

    settings = deciding(context, folder, blank)
    artifact = context.stage(STAGE, make, inputs={"dataset": dataset}, settings=settings, title=f"eval {name}")
    return Evaluation(artifact)


def is_busy(context: Context, dataset: Artifact, model: Artifact, *, blank: bool = False) -> bool:
    """Whether another process or machine seems to be doing that evaluation."""
    return context.busy(STAGE, {"dataset": dataset}, deciding(context, model.path, blank))


def deciding(context: Context, folder: Path, blank: bool) -> dict[str, Any]:
    """What decides an evaluation besides the data set."""
    from medreasoner_monai.reasoners.folder import folder_digest

    return context.settings.evaluate.model_dump(mode="json", exclude={"confidence"}) | {
        "model": folder_digest(folder),
        "blank": blank,
        "segmenters": [identity(text) for text in context.settings.evaluate.segmenters],
    }


def evaluate_into(
    context: Context, draft: Draft, dataset: Artifact, folder: Path, watch: ProgressReporter, *, blank: bool
) -> None:
    """Write ``samples.parquet`` and ``metrics.json`` into a draft."""
    import torch

    from medreasoner_monai.reasoners.hf import HuggingFaceReasoner

    settings = context.settings.evaluate
    torch.set_num_threads(context.threads)
    reasoner = HuggingFaceReasoner.load(
        folder, device="cuda" if torch.cuda.is_available() else "cpu", max_new_tokens=settings.max_new_tokens
    )
    records = evaluate(
        ModelAnswerer(reasoner, blank=blank),
        read_split(dataset.path / "test.parquet"),
        dataset.facts["splits"]["test"]["samples"],
        segmenters(settings.segmenters),
        draft.scratch / "shards",
        watch,
        batch=settings.batch,
        surface=settings.surface,
    )
    assert records is not None, "all parts are done here"
    about = {"reasoner_digest": reasoner.digest, "prompt_digest": reasoner.prompt_digest, "dataset": dataset.digest}
    write_records(draft.path / SAMPLES, records, about)
    metrics = summarise(records, resamples=settings.bootstrap) | about
    if not metrics["present"]:
        raise InputError(
            "no sample of the test split shows its target; add some, since overlap is measured on them alone"
        )
    write_json(draft.path / METRICS, metrics)
    draft.facts.update(
        failure_rate=metrics["failure_rate"], box_iou=metrics["overall"]["box_iou"]["mean"], **mistake_means(metrics)
    )


def track(context: Context, draft: Draft, name: str) -> None:
    """Log the figures and keep the files in MLflow."""
    tags = {"stage": "evaluation", "reasoner": name}
    run = context.tracking.run(f"evaluation: {name}", draft.scratch, tags, parent=context.parent_run)
    metrics = json.loads((draft.path / METRICS).read_text(encoding="utf-8"))
    with run.ending():
        figures = {n: v["mean"] for n, v in metrics["overall"].items()} | mistake_means(metrics)
        run.figures(figures | pick(metrics, "failure_rate"))
        run.file(draft.path / METRICS)
    draft.facts["mlflow_run"] = run.id


def compare_evaluations(context: Context, a: Evaluation, b: Evaluation) -> dict[str, dict[str, float]]:
    """``b - a`` for every measure, paired by sample, with intervals."""
    return compare(a.records, b.records, resamples=context.settings.evaluate.bootstrap)
