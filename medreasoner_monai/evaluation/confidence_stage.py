"""The confidence stage: the finished model asked several times, and the agreement under which it should keep silent.

The threshold is fitted on validation; what it does is told on test.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from medreasoner_monai.data.schema import read_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import fit_threshold, risk_coverage
from medreasoner_monai.evaluation.answerers import ConsensusAnswerer
from medreasoner_monai.evaluation.evaluate_stage import Evaluation, track
from medreasoner_monai.evaluation.metrics import summarise
from medreasoner_monai.evaluation.records import METRICS, SAMPLES, Record, write_records
from medreasoner_monai.evaluation.resolve import segmenters
from medreasoner_monai.evaluation.scoring import evaluate
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.reasoners.folder import folder_digest
from medreasoner_monai.segmenters.registry import identity

VALIDATION = "validation.parquet"
STAGE = Stage(
    "confidence",
    "confidence",
    version=1,
    code=("evaluation.scoring", "evaluation.answerers", "evaluation.metrics", "evaluation.abstention", "reasoners.hf"),
    libraries=("torch", "transformers", "numpy", "monai", "opencv-python-headless"),
    numeric=True,
)


def confidence(context: Context, dataset: Artifact, model: Artifact) -> Evaluation | None:
    """An evaluation of agreed answers; None when the settings ask for fewer than two answers a question.

    Besides an evaluation's files there is ``validation.parquet``, the records of the validation split, and in the
    metrics ``answers``, ``temperature`` and ``threshold``.
    """
    chosen = context.settings.evaluate
    if chosen.confidence.answers < 2:
        return None
    settings = chosen.model_dump(mode="json") | {
        "model": folder_digest(model.path),
        "segmenters": [identity(text) for text in chosen.segmenters],
    }

    def make(draft: Draft, watch: ProgressReporter) -> None:
        import torch

        from medreasoner_monai.reasoners.hf import HuggingFaceReasoner

        torch.set_num_threads(context.threads)
        reasoner = HuggingFaceReasoner.load(
            model.path,
            device="cuda" if torch.cuda.is_available() else "cpu",
            max_new_tokens=chosen.max_new_tokens,
        )
        who = ConsensusAnswerer(reasoner, chosen.confidence.answers, chosen.confidence.temperature)
        records: dict[str, list[Record]] = {}
        for split in ("val", "test"):
            found = evaluate(
                who,
                read_split(dataset.path / f"{split}.parquet"),
                dataset.facts["splits"][split]["samples"],
                # A threshold is fitted on boxes; no masks are needed for it.
                segmenters(chosen.segmenters) if split == "test" else {},
                draft.scratch / split,
                watch,
                batch=chosen.batch,
                surface=chosen.surface,
            )
            assert found is not None, "all parts are done here"
            records[split] = found
        about = {"reasoner_digest": who.digest, "prompt_digest": who.prompt_digest, "dataset": dataset.digest}
        if records["val"]:
            write_records(draft.path / VALIDATION, records["val"], about)
        write_records(draft.path / SAMPLES, records["test"], about)
        limit = threshold(records["val"], records["test"], chosen.confidence.wanted)
        asked = {"answers": who.count, "temperature": who.temperature, "threshold": limit}
        metrics = summarise(records["test"], resamples=chosen.bootstrap) | about | asked
        write_json(draft.path / METRICS, metrics)
        draft.facts["confidence"] = {
            "box_iou": metrics["overall"]["box_iou"]["mean"],
            "expected_error": metrics["confidence"]["calibration"]["expected_error"],
            "area_under_risk": metrics["confidence"]["area_under_risk"],
            "threshold": limit,
        }
        track(context, draft, "agreed answers")

    return Evaluation(context.stage(STAGE, make, inputs={"dataset": dataset, "model": model}, settings=settings))


def threshold(validation: Sequence[Record], test: Sequence[Record], wanted: float) -> dict[str, Any]:
    """The threshold that ``validation`` gives for a mean box IoU ``wanted``, and what it does on both splits.

    Returns
    -------
    dict
        ``wanted``, ``reached``, ``value`` (None where not reached), and ``validation`` and ``test`` with the
        ``coverage`` and ``quality`` there; where not reached, ``validation`` is its best (None where there are no
        records) and ``test`` is None.
    """
    if not validation:
        return {"wanted": wanted, "reached": False, "value": None, "validation": None, "test": None}
    try:
        found = fit_threshold(*_columns(validation), wanted)
    except InputError:
        best = max(risk_coverage(*_columns(validation)), key=lambda t: t.quality)
        shown = {"coverage": best.coverage, "quality": best.quality}
        return {"wanted": wanted, "reached": False, "value": None, "validation": shown, "test": None}
    sure, quality = _columns(test)
    given = sure >= found.value
    return {
        "wanted": wanted,
        "reached": True,
        "value": found.value,
        "validation": {"coverage": found.coverage, "quality": found.quality},
        "test": {
            "coverage": float(given.mean()),
            "quality": float(quality[given].mean()) if given.any() else None,
        },
    }


def _columns(records: Sequence[Record]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Confidence and box IoU, ``(N,)`` each."""
    return np.array([r.confidence for r in records], dtype=float), np.array([r.box_iou for r in records])
