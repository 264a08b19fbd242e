"""The confidence stage: the finished model asked several times, its agreement calibrated, and when to keep silent.

Calibration and threshold are fitted on validation, the threshold on the calibrated values; what they do is reported on
test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from medreasoner_monai.data.schema import read_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import confidence_columns, confidence_report, fit_threshold, risk_coverage
from medreasoner_monai.evaluation.answerers import ConsensusAnswerer
from medreasoner_monai.evaluation.calibration import LEAST, fit_calibration
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
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.reasoners.folder import folder_digest
from medreasoner_monai.segmenters.registry import identity

VALIDATION = "validation.parquet"
CALIBRATION = "calibration.json"
STAGE = Stage(
    "confidence",
    "confidence",
    version=4,
    code=(
        "evaluation.scoring",
        "evaluation.answerers",
        "evaluation.metrics",
        "evaluation.abstention",
        "evaluation.calibration",
        "reasoners.hf",
    ),
    libraries=("torch", "transformers", "numpy", "monai", "opencv-python-headless", "scikit-learn"),
    numeric=True,
)


def confidence(context: Context, dataset: Artifact, model: Artifact) -> Evaluation | None:
    """An evaluation of agreed answers; None when the settings ask for fewer than two answers a question.

    Besides an evaluation's files there are ``validation.parquet``, the records of the validation split, and, where
    there are enough of them, ``calibration.json``. Records hold the agreement as it was; ``metrics.json`` is about the
    calibrated confidence and has ``answers``, ``temperature``, ``threshold`` and ``calibrated``
    (:func:`calibration_facts`) besides.
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
        calibration = fit_calibration(records["val"], who.count, who.temperature)
        if calibration is not None:
            write_json(draft.path / CALIBRATION, calibration.as_dict())
        sure = {split: calibrate(found, calibration) for split, found in records.items()}
        limit = threshold(sure["val"], sure["test"], chosen.confidence.wanted)
        worth = calibration_facts(calibration, records["val"], records["test"])
        asked = {"answers": who.count, "temperature": who.temperature, "threshold": limit, "calibrated": worth}
        metrics = summarise(sure["test"], resamples=chosen.bootstrap) | about | asked
        write_json(draft.path / METRICS, metrics)
        measured = metrics.get("confidence")
        draft.facts["confidence"] = {
            "box_iou": metrics["overall"]["box_iou"]["mean"],
            "expected_error": measured["calibration"]["expected_error"] if measured else None,
            "expected_error_before": worth["before"]["expected_error"] if worth["before"] else None,
            "calibrated_on": worth["n"] if worth["fitted"] else 0,
            "area_under_risk": measured["area_under_risk"] if measured else None,
            "threshold": limit,
        }
        track(context, draft, "agreed answers")

    return Evaluation(context.stage(STAGE, make, inputs={"dataset": dataset, "model": model}, settings=settings))


def calibrate(records: Sequence[Record], calibration: Calibration | None) -> list[Record]:
    """Records whose agreement on a region is replaced by the box IoU that it predicts."""
    return [
        replace(r, confidence=calibration(r.confidence))
        if calibration is not None and r.answered and r.confidence is not None
        else r
        for r in records
    ]


def calibration_facts(
    calibration: Calibration | None, validation: Sequence[Record], test: Sequence[Record]
) -> dict[str, Any]:
    """How far off agreement is as a prediction of box IoU on test, and how far off the calibrated confidence.

    Parameters
    ----------
    validation, test:
        With the agreement as it was measured.

    Returns
    -------
    dict
        ``fitted``; ``n``, the validation answers with a region, and ``least``, how many a calibration needs; ``before``
        and ``after`` on test as :func:`~medreasoner_monai.evaluation.abstention.calibration` gives them (None where
        no region was given, or nothing fitted).
    """
    before, after = (confidence_report(r) for r in (test, calibrate(test, calibration)))
    return {
        "fitted": calibration is not None,
        "n": int(confidence_columns(validation)[0].size),
        "least": LEAST,
        "before": before["calibration"] if before else None,
        "after": after["calibration"] if after and calibration is not None else None,
    }


def threshold(validation: Sequence[Record], test: Sequence[Record], wanted: float) -> dict[str, Any]:
    """The threshold that ``validation`` gives for a mean box IoU ``wanted``, and what it does on both splits.

    Returns
    -------
    dict
        ``wanted``, ``reached``, ``value`` (None where not reached), and ``validation`` and ``test`` with the
        ``coverage`` (the share of regions that is given) and ``quality`` there; where not reached, ``validation`` is
        its best (None where there is no region) and ``test`` is None.
    """
    if not confidence_columns(validation)[0].size:
        return {"wanted": wanted, "reached": False, "value": None, "validation": None, "test": None}
    try:
        found = fit_threshold(*confidence_columns(validation), wanted)
    except InputError:
        best = max(risk_coverage(*confidence_columns(validation)), key=lambda t: t.quality)
        shown = {"coverage": best.coverage, "quality": best.quality}
        return {"wanted": wanted, "reached": False, "value": None, "validation": shown, "test": None}
    sure, quality = confidence_columns(test)
    given = sure >= found.value
    return {
        "wanted": wanted,
        "reached": True,
        "value": found.value,
        "validation": {"coverage": found.coverage, "quality": found.quality},
        "test": {
            "coverage": float(given.mean()) if given.size else 0.0,
            "quality": float(quality[given].mean()) if given.any() else None,
        },
    }
