"""The JSON that goes with a label: what the reasoner said, in the terms that viewers look for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.grounding.record import answer_record
from medreasoner_monai.integrations.monailabel.grid import VALUE, Grid

if TYPE_CHECKING:
    from medreasoner_monai.grounding.result import GroundingResult

LABEL = "answer"


def describe(result: GroundingResult, grid: Grid, seconds: float) -> dict[str, Any]:
    """A result's first finding, flat for a viewer, and the whole record below ``answer``.

    ``box`` and ``points`` are those of slice ``slice``, in continuous (column, row) of the DICOM frame, and null where
    nothing was found; ``status`` and ``reason`` then say why. ``label_names`` and ``latencies`` are MONAI Label's.
    """
    finding = result.findings[0]
    shown = finding.shown
    region = shown.grounding
    return {
        "notice": RESEARCH_USE,
        "question": finding.question,
        "status": finding.status,
        "reason": finding.reason,
        "trace": None if region is None else region.trace,
        "box": None if region is None else [float(v) for v in region.box.xyxy],
        "points": None if region is None else [[float(v) for v in point] for point in region.points.xy],
        "confidence": shown.confidence,
        "slice": finding.key,
        "sop_instance_uid": result.series.sop_instance_uid(finding.key),
        "series_instance_uid": result.series.uid,
        "voxels": finding.voxels,
        "notes": list(grid.notes),
        "label_names": {LABEL: VALUE},
        "latencies": {"total": round(seconds, 2)},
        "answer": answer_record(result),
    }
