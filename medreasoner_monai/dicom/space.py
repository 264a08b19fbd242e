"""Where a slice lies and how large its pixels are, with the ground on which that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from pydicom import Dataset

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.series import Series

Plane = Literal["patient", "detector"]
_PROJECTION = {"CR", "DX", "IO", "MG", "PX", "RF", "RG", "XA"}
_CENTIMETRES = 3


@dataclass(frozen=True, slots=True)
class Spacing:
    """Millimetres between neighbouring rows and between neighbouring columns.

    ``plane`` is ``detector`` for a projection whose magnification nobody corrected: the sizes are those of the shadow
    on the detector, not of the thing in the patient (PS3.3 10.7.1.3).
    """

    row: float
    column: float
    plane: Plane = "patient"


def in_space(series: Series) -> bool:
    """Whether all slices have a place in one frame of reference of the patient, which other objects can name."""
    return series.in_space and bool(series.headers[0].get("FrameOfReferenceUID"))


def pixel_spacing(header: Dataset, frame: int = 0, box: tuple[int, int, int, int] | None = None) -> Spacing | None:
    """How large a pixel is, or None where the file does not say.

    Parameters
    ----------
    header:
        Of the file that holds the slice.
    frame:
        From 0.
    box:
        ``(x1, y1, x2, y2)`` of what is to be measured, in pixels, ends not included. An ultrasound image has spacing in
        its calibrated regions only (PS3.3 C.8.5.5): it counts when one two-dimensional region holds the whole box.
    """
    patient = placement.pixel_spacing(header, frame)
    if header.get("SequenceOfUltrasoundRegions"):
        return _ultrasound(header, box)
    if header.get("Modality") not in _PROJECTION:
        return Spacing(*patient) if patient else None
    detector = _pair(header.get("ImagerPixelSpacing"))
    if patient and header.get("PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL"):
        return Spacing(*patient)
    either = detector or patient
    return Spacing(*either, plane="detector") if either else None


def _pair(value: Any) -> tuple[float, float] | None:
    try:
        row, column = (float(v) for v in value)
    except (TypeError, ValueError):
        return None
    return (row, column) if np.isfinite([row, column]).all() and row > 0 and column > 0 else None


def _ultrasound(header: Dataset, box: tuple[int, int, int, int] | None) -> Spacing | None:
    rows, columns = int(header.Rows), int(header.Columns)
    x1, y1, x2, y2 = box or (0, 0, columns, rows)
    for region in header.SequenceOfUltrasoundRegions:
        try:
            inside = (
                int(region.RegionLocationMinX0) <= x1
                and int(region.RegionLocationMinY0) <= y1
                and x2 - 1 <= int(region.RegionLocationMaxX1)
                and y2 - 1 <= int(region.RegionLocationMaxY1)
            )
            flat = int(region.RegionSpatialFormat) == 1
            units = {int(region.PhysicalUnitsXDirection), int(region.PhysicalUnitsYDirection)}
            steps = _pair((abs(float(region.PhysicalDeltaY)), abs(float(region.PhysicalDeltaX))))
        except (AttributeError, TypeError, ValueError):
            continue
        if inside and flat and units == {_CENTIMETRES} and steps:
            return Spacing(steps[0] * 10, steps[1] * 10)
    return None
