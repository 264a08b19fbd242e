"""The real CT's reference masks, written as if a question had found them: what the archive and the viewer are shown.

Nobody was asked. The objects say so where they would name a reasoner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import generate_uid

from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.findings import ConfidenceKind, Engine, Finding, Origin, SliceResult
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import codes_for

TRACE = "Reference mask of the data set; no model was asked."
ORGANS = {
    "liver": ("Which organ filters the blood that comes from the gut?", "liver"),
    "spine": ("Which structure carries the trunk and shelters the cord?", "vertebra"),
    "heart": ("Which muscle pumps the blood?", "heart"),
}


def reference_masks(folder: Path) -> dict[str, np.ndarray]:
    """Masks by organ, boolean ``(slices, rows, columns)``, slices from the lowest upwards like the series'."""
    import nrrd

    files = {name: str(folder / f"segmentations/{name}_seg.nrrd") for name in ORGANS}
    # NRRD axes are (x, y, z).
    return {name: nrrd.read(file)[0].transpose(2, 1, 0) > 0 for name, file in files.items()}


def grounded_reference(
    folder: Path, organs: Sequence[str] = tuple(ORGANS), confidence: float | None = None
) -> GroundingResult:
    """Organs of the real CT as findings; the reference masks of liver and heart share a few pixels."""
    series = choose_series(folder)
    masks = reference_masks(folder)
    digest = hashlib.sha256(b"".join(masks[name].tobytes() for name in organs)).hexdigest()
    engine = Engine("reference masks", digest)
    findings = tuple(_finding(series, masks[name], *ORGANS[name], confidence) for name in organs)
    asked = tuple(range(len(series)))
    return GroundingResult(series, findings, Origin(engine, engine, prompt_digest=""), asked)


def _finding(series: Series, volume: np.ndarray, question: str, category: str, confidence: float | None) -> Finding:
    _, rows, columns = series.shape
    frame = Frame(columns, rows, "dicom")

    def placed(shape: Any) -> Any:
        return replace(shape, frame=frame)  # these pictures are the DICOM frames

    slices = tuple(
        SliceResult(i, Grounding(TRACE, placed(mask_box(m)), placed(key_points(m))), "", m, 0.0, confidence)
        for i, m in enumerate(volume)
    )
    key = max(range(len(volume)), key=lambda i: int(volume[i].sum()))
    kind: ConfidenceKind = "" if confidence is None else "agreement"
    return Finding(
        question, slices, key, str(generate_uid(prefix=None)), codes_for(category), "given", confidence_kind=kind
    )
