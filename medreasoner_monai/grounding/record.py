"""The answer as JSON: what ``answer.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.coverage import coverage
from medreasoner_monai.files import package_versions
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.task.findings import Finding, SliceResult

SCHEMA_VERSION = 2


def answer_record(result: GroundingResult, objects: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Everything that was asked, answered and measured; nothing of the patient.

    Parameters
    ----------
    result:
        Of :meth:`~medreasoner_monai.grounding.grounder.Grounder.ground`.
    objects:
        SOP Instance UIDs of the objects written, by kind (``seg``, ``report``, ``capture``).
    """
    series, origin = result.series, result.origin
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_USE,
        "series_instance_uid": series.uid,
        "modality": series.modality,
        "chosen_because": series.because,
        "coordinates": "continuous (column, row) of the DICOM frame, from 0 at the outer corner of the first pixel",
        "slices_in_series": len(series),
        "slices_asked": list(result.asked),
        "findings": [_finding(result, f) for f in result.findings],
        "objects": dict(objects or {}),
        "reasoner": asdict(origin.reasoner),
        "segmenter": asdict(origin.segmenter),
        "rendering": result.rendering.name,
        "model_version": origin.model_version,
        "digests": origin.digests,
        "repairs": list(series.repairs),
        "notes": list(series.notes),
        "lineage": {k: v for k, v in result.lineage.items() if k != "files"},
        "packages": package_versions(),
    }


def _finding(result: GroundingResult, finding: Finding) -> dict[str, Any]:
    series, shown = result.series, finding.shown
    covered, looked = len(finding.slices), coverage(series, finding)
    return {
        "question": finding.question,
        "status": finding.status,
        "reason": finding.reason,
        "codes": None if finding.codes is None else asdict(finding.codes),
        "coded_from": finding.coded_from,
        "side": None if finding.side is None else asdict(finding.side),
        "view": _view(result, finding.key),
        "trace": None if shown.grounding is None else shown.grounding.trace,
        "box": _box(shown),
        "points": _points(shown),
        "confidence": shown.confidence,
        "confidence_kind": finding.confidence_kind,
        "key_slice": finding.key,
        "key_sop_instance_uid": series.sop_instance_uid(finding.key),
        "voxels": finding.voxels,
        "measurements": asdict(result.measures[finding.tracking_uid]) if finding.voxels else None,
        "mask_covers": "the whole series" if covered == len(series) else f"{covered} of {len(series)} slices",
        "coverage": {
            **asdict(looked),
            "complete": looked.complete if finding.voxels else None,
            "reasons": list(looked.reasons),
        },
        "stops": list(finding.stops),
        "flags": [asdict(flag) for flag in finding.flags],
        "tracking_uid": finding.tracking_uid,
        "slices": [_slice(result, s) for s in finding.slices],
        "candidates": [_slice(result, s) for s in finding.candidates],
    }


def _view(result: GroundingResult, index: int) -> dict[str, Any]:
    """How the models saw the slice: the letters along a row and down a column, or why there are none."""
    orientation = result.series.orientation(index)
    letters = orientation.letters
    return {
        "row": letters[0] if letters else None,
        "column": letters[1] if letters else None,
        "orientation_unknown_because": orientation.unknown_because,
    }


def _slice(result: GroundingResult, one: SliceResult) -> dict[str, Any]:
    return {
        "index": one.index,
        "sop_instance_uid": result.series.sop_instance_uid(one.index),
        "carried": one.carried,
        "answered": one.grounding is not None,
        "reason": one.reason,
        "trace": None if one.grounding is None else one.grounding.trace,
        "box": _box(one),
        "points": _points(one),
        "confidence": None if one.confidence is None else round(one.confidence, 4),
        "voxels": one.voxels,
        "seconds": round(one.seconds, 3),
    }


def _box(one: SliceResult) -> list[float] | None:
    return None if one.grounding is None else [round(v, 2) for v in one.grounding.box.xyxy]


def _points(one: SliceResult) -> list[list[float]] | None:
    return None if one.grounding is None else [[round(v, 2) for v in point] for point in one.grounding.points.xy]
