"""How large a pixel is, and on what ground that is known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydicom import Dataset

from medreasoner_monai.dicom.values import frame_value, vector

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


def pixel_spacing(header: Dataset, frame: int = 0) -> tuple[float, float] | None:
    """The attribute Pixel Spacing: mm between rows and between columns, or None where it is not two positive numbers.

    What it is worth depends on the modality; :func:`calibrated_spacing` says.
    """
    return _pair(frame_value(header, frame, "PixelMeasuresSequence", "PixelSpacing"))


def calibrated_spacing(header: Dataset, frame: int = 0, box: tuple[int, int, int, int] | None = None) -> Spacing | None:
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
    patient = pixel_spacing(header, frame)
    if header.get("SequenceOfUltrasoundRegions"):
        return _ultrasound(header, box)
    if header.get("Modality") not in _PROJECTION:
        return Spacing(*patient) if patient else None
    detector = _pair(header.get("ImagerPixelSpacing"))
    if patient and header.get("PixelSpacingCalibrationType") in ("GEOMETRY", "FIDUCIAL"):
        return Spacing(*patient)
    either = detector or patient
    return Spacing(*either, plane="detector") if either else None


def _pair(value: object) -> tuple[float, float] | None:
    pair = vector(value, 2)
    return None if pair is None or (pair <= 0).any() else (float(pair[0]), float(pair[1]))


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
            steps = _pair([abs(float(region.PhysicalDeltaY)), abs(float(region.PhysicalDeltaX))])
        except (AttributeError, TypeError, ValueError):
            continue
        if inside and flat and units == {_CENTIMETRES} and steps:
            return Spacing(steps[0] * 10, steps[1] * 10)
    return None
