"""What can be measured on a finding: sizes where spacing is known, volume where the region is whole, intensities."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom.coverage import coverage
from medreasoner_monai.dicom.display import modality_values
from medreasoner_monai.dicom.pixels import decode_frame
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.spacing import Plane, Spacing, calibrated_spacing
from medreasoner_monai.dicom.values import frame_value
from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.findings import Finding
from medreasoner_monai.task.taxonomy import Code

HOUNSFIELD = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
NO_UNITS = Code("1", "UCUM", "no units")
_UNITS = {"HU": HOUNSFIELD, "BQML": Code("Bq/ml", "UCUM", "Becquerels/milliliter")}
_EDGES = np.array([(0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5)], dtype=np.float32)


@dataclass(frozen=True)
class Measures:
    """Measurements of one finding; None where the file does not say what would be needed, or they would mislead.

    Attributes
    ----------
    area_mm2:
        Of the mask on the key slice: pixels times their area. This and the diameters are None where the mask touches
        the picture's edge: they would be those of a part.
    long_mm, short_mm:
        The greatest distance between two points of the mask's outline on the key slice (its maximal Feret diameter),
        and the mask's width across that direction. The outline goes through the middles of the pixels' outer edges; a
        mask in several parts is measured as a whole.
    plane:
        ``detector`` where those three are sizes on the detector of a projection; None without spacing.
    volume_ml:
        Of all marked voxels; only of slices with positions in space, and only where all of the region is known to be
        marked (:attr:`~medreasoner_monai.dicom.coverage.Coverage.complete`).
    mean, sd, minimum, maximum:
        Of the key slice's pixels under the mask, after the modality rescale; None for colour. ``sd`` is the
        population's.
    unit:
        UCUM, of the intensities.
    """

    area_mm2: float | None = None
    long_mm: float | None = None
    short_mm: float | None = None
    plane: Plane | None = None
    volume_ml: float | None = None
    mean: float | None = None
    sd: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    unit: Code | None = None


def measure(series: Series, finding: Finding) -> Measures:
    """Measure a finding; everything is None in a finding without a region.

    Parameters
    ----------
    series:
        What the finding was made on; the key slice's pixels are read from it.
    finding:
        Its masks are ``(rows, columns)`` of the series' slices.

    Raises
    ------
    DicomError
        If the key slice's pixels cannot be read, or its mask does not have their shape.
    """
    mask = finding.marked.get(finding.key)
    if mask is None:
        return Measures()
    dataset, frame = series.load(finding.key)
    header = series.headers[series.locate(finding.key)[0]]
    covered = coverage(series, finding)
    spacing = None if finding.key in covered.cut else _spacing(header, frame, mask)
    long, short = diameters(mask, spacing) if spacing else (None, None)
    mean, sd, minimum, maximum, unit = _intensities(dataset, frame, mask, finding.key)
    voxel = series.voxel_ml if series.has_frame_of_reference and covered.complete else None
    return Measures(
        area_mm2=int(mask.sum()) * spacing.row * spacing.column if spacing else None,
        long_mm=long,
        short_mm=short,
        plane=spacing.plane if spacing else None,
        volume_ml=finding.voxels * voxel if voxel else None,
        mean=mean,
        sd=sd,
        minimum=minimum,
        maximum=maximum,
        unit=unit,
    )


def _spacing(header: Dataset, frame: int, mask: NDArray[np.bool_]) -> Spacing | None:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return calibrated_spacing(header, frame, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))


def diameters(mask: NDArray[np.bool_], spacing: Spacing) -> tuple[float, float]:
    """The maximal Feret diameter and the width across it, in millimetres.

    Parameters
    ----------
    mask:
        ``(rows, columns)``, with at least one marked pixel.
    spacing:
        Of its pixels.

    Examples
    --------
    >>> line = np.zeros((5, 20), dtype=bool)
    >>> line[2, 3:13] = True
    >>> diameters(line, Spacing(0.5, 2.0))
    (20.0, 0.5)
    """
    rows = np.flatnonzero(mask.any(axis=1))
    inside = mask[rows]
    first = inside.argmax(axis=1)
    last = mask.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    # The hull touches each row's outermost pixels only.
    pixels = np.concatenate([np.stack([first, rows], axis=1), np.stack([last, rows], axis=1)]).astype(np.float32)
    outline = (pixels[:, None, :] + _EDGES).reshape(-1, 2)
    hull = cv2.convexHull(outline)[:, 0, :].astype(np.float64) * (spacing.column, spacing.row)
    between = hull[:, None, :] - hull[None, :, :]
    distances = np.hypot(between[..., 0], between[..., 1])
    a, b = np.unravel_index(distances.argmax(), distances.shape)
    long = float(distances[a, b])
    direction = between[a, b] / long
    across = hull @ np.array([-direction[1], direction[0]])
    return long, float(np.ptp(across))


def _intensities(
    dataset: Dataset, frame: int, mask: NDArray[np.bool_], index: int
) -> tuple[float, float, float, float, Code] | tuple[None, None, None, None, None]:
    if int(dataset.get("SamplesPerPixel") or 1) > 1 or dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        return (None,) * 5
    stored = decode_frame(dataset, frame)
    if stored.shape != mask.shape:
        raise DicomError(f"slice {index}: its pixels have shape {stored.shape}, the mask {mask.shape}; they must agree")
    values = modality_values(dataset, frame, stored[mask])
    unit = _UNITS.get(_unit_name(dataset, frame), NO_UNITS)
    return float(values.mean()), float(values.std()), float(values.min()), float(values.max()), unit


def _unit_name(dataset: Dataset, frame: int) -> str:
    named = frame_value(dataset, frame, "PixelValueTransformationSequence", "RescaleType") or dataset.get("Units")
    rescaled = frame_value(dataset, frame, "PixelValueTransformationSequence", "RescaleSlope") is not None
    # PS3.3 C.8.2.1.1.2: without a type, a CT's rescaled values are Hounsfield units.
    return "HU" if not named and dataset.get("Modality") == "CT" and rescaled else str(named)
