"""Where the body's midline lies in a picture, as far as the picture shows it.

The origin of the patient's coordinates says nothing of the midline: a patient lies beside the table's middle, or half
of him was scanned. The body's outline does, where it is seen on both sides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.display import modality_values, render_frame
from medreasoner_monai.dicom.pixels import decode_frame
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.dicom.view import Mask

OBLIQUE = "left and right do not run along the picture: it is cut lengthwise or obliquely"
CUT = "the body is cut off at the edge of the picture"
PIECES = "what is seen is in several parts, such as both legs"
NO_BODY = "no outline of the body is seen"
UNCLEAR = "the outline of the body is not clear"
NOT_WHOLE = "this kind of picture does not show the outline of the body"

_OUTLINED = {"CT", "MR", "PT", "CR", "DX", "RG"}
_ALONG = float(np.cos(np.radians(30)))
_TISSUE_HU = -300.0
_NEVER_MEASURED_HU = -1100.0
"""Darker than air with its noise: what scanners write where they measured nothing."""
_LEAST_SHARE = 0.03
_SECOND_PART = 0.25
_COMPLETE = 0.5
_NEAR = 2
_SPREAD, _LOPSIDED = 0.2, 0.25
_OF_OTSU = {"MR": 0.4, "PT": 0.4}
_OF_OTSU_RADIOGRAPH = 0.6
"""Of Otsu's threshold: it parts bright tissue from dark, and the skin is darker than the middle of both."""


@dataclass(frozen=True)
class Midline:
    """A straight line across the picture that parts the body's left from its right.

    Attributes
    ----------
    axis:
        0 where left and right run along the view's rows (as usual), 1 where they run down its columns.
    at:
        Where it lies on that axis, in the view's pixels.
    half:
        Half of the body's width there, in the view's pixels.
    leftwards:
        1 where the patient's left lies at greater coordinates, else -1.
    """

    axis: int
    at: float
    half: float
    leftwards: int

    def offsets(self, mask: Mask) -> NDArray[np.float64]:
        """How far the marked pixels of a view's mask ``(rows, columns)`` lie to the patient's left ``(N,)``.

        1 is the body's outline, 0 the midline; the right is negative.
        """
        places = np.nonzero(mask)[1 - self.axis] + 0.5
        return np.asarray(self.leftwards * (places - self.at) / self.half)


def find_midline(series: Series, index: int, mask: Mask) -> Midline | str:
    """The midline at the levels of a mask, or why it cannot be told.

    Parameters
    ----------
    index:
        The slice, from 0 in series order; its pixels are read.
    mask:
        ``(rows, columns)`` of its view, with at least one marked pixel.

    Raises
    ------
    DicomError
        If the pixels cannot be read.
    """
    orientation = series.orientation(index)
    if orientation.axes is None:
        return orientation.unknown_because
    if series.modality not in _OUTLINED:
        return NOT_WHOLE
    leftwards = (float(orientation.axes[0]), float(orientation.axes[3]))
    axis = int(abs(leftwards[1]) > abs(leftwards[0]))
    if abs(leftwards[axis]) < _ALONG:
        return OBLIQUE
    dataset, frame = series.load(index)
    if series.modality == "CT":
        seen = orientation.turn(modality_values(dataset, frame, decode_frame(dataset, frame)))
    else:
        seen = orientation.turn(render_frame(dataset, frame)[0])
    return midline_of(seen, series.modality, mask, axis, 1 if leftwards[axis] > 0 else -1)


def midline_of(values: NDArray[Any], modality: str, mask: Mask, axis: int, leftwards: int) -> Midline | str:
    """The midline of a picture, or why it cannot be told.

    Parameters
    ----------
    values:
        Hounsfield units ``(rows, columns)`` of a CT; else the picture, uint8, ``(rows, columns)`` or RGB.
    mask:
        ``(rows, columns)``.
    axis, leftwards:
        See :class:`Midline`.
    """
    if modality == "CT":
        hu = np.asarray(values, dtype=np.float64)
        tissue, measured = hu > _TISSUE_HU, _measured(hu)
    else:
        tissue = _bright(np.asarray(values, dtype=np.uint8), modality)
        measured = np.ones(tissue.shape, dtype=bool)
    body = _largest(tissue)
    if isinstance(body, str):
        return body
    if axis == 1:
        body, measured, mask = body.T, measured.T, mask.T
    found = _middle(body, measured, np.asarray(mask.any(axis=1)))
    return found if isinstance(found, str) else Midline(axis, *found, leftwards)


def _middle(body: Mask, measured: Mask, lines: NDArray[np.bool_]) -> tuple[float, float] | str:
    """Middle and half width ``(at, half)`` of the body on the rows in question: the medians of those seen whole."""
    middles, halves = [], []
    columns = body.shape[1]
    for row, seen in zip(body[lines], measured[lines], strict=True):
        where = np.flatnonzero(row)
        if not where.size:
            continue
        first, last = int(where[0]), int(where[-1]) + 1
        beside = np.r_[seen[max(0, first - _NEAR) : first], seen[last : last + _NEAR]]
        if first >= _NEAR and last <= columns - _NEAR and beside.all():
            middles.append((first + last) / 2)
            halves.append((last - first) / 2)
    if len(middles) < _COMPLETE * np.count_nonzero(body[lines].any(axis=1)):
        return CUT
    if not middles:
        return NO_BODY
    at, half = float(np.median(middles)), float(np.median(halves))
    low, high = np.percentile(middles, (10, 90))
    # Where half of the body is too dark to be seen, its middle is not the midline; the rest of it tells.
    elsewhere = float(np.nonzero(body)[1].mean()) + 0.5
    clear = high - low <= _SPREAD * half and abs(elsewhere - at) <= _LOPSIDED * half
    return (at, half) if clear else UNCLEAR


def _largest(tissue: NDArray[np.bool_]) -> Mask | str:
    """The body: the largest connected part after thin things, such as a table's cover, are taken away."""
    size = max(3, round(min(tissue.shape) / 64)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    opened = cv2.morphologyEx(tissue.astype(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(opened)
    if count < 2:
        return NO_BODY
    areas = statistics[1:, cv2.CC_STAT_AREA]
    order = np.argsort(-areas, kind="stable")
    if areas[order[0]] < _LEAST_SHARE * tissue.size:
        return NO_BODY
    if len(order) > 1 and areas[order[1]] > _SECOND_PART * areas[order[0]]:
        return PIECES
    return np.asarray(labels == order[0] + 1)


def _measured(hu: NDArray[np.float64]) -> Mask:
    """Where a CT has values: not padding, and in a square picture within the circle that reconstruction fills."""
    rows, columns = hu.shape
    values = hu > _NEVER_MEASURED_HU
    if rows != columns:
        return np.asarray(values)
    y, x = np.ogrid[:rows, :columns]
    radius = rows / 2 - _NEAR
    return np.asarray(values & ((y + 0.5 - rows / 2) ** 2 + (x + 0.5 - columns / 2) ** 2 <= radius**2))


def _bright(picture: NDArray[np.uint8], modality: str) -> NDArray[np.bool_]:
    grey = picture if picture.ndim == 2 else picture.mean(axis=2).astype(np.uint8)
    smooth = cv2.GaussianBlur(np.ascontiguousarray(grey), (5, 5), 0)
    threshold, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(smooth > threshold * _OF_OTSU.get(modality, _OF_OTSU_RADIOGRAPH))
