"""ROIs of an RT Structure Set (PS3.3 A.19.3) on the slices of a series.

A contour belongs to the slice in whose plane it lies. A pixel is inside where its centre is; contours of one ROI on one
slice are combined by exclusive or, so that a contour within another is a hole and a keyhole stays what it is. Slices
between contours are not filled in. Why no library does it: docs/decisions/0007-rtstruct.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pydicom import Dataset
from skimage.draw import polygon

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.outlines import Mask, Outline, Places, coded_name, reference_problem, target_name
from medreasoner_monai.dicom.values import Vector

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_FLAT = 0.1
_MISSING = "the image they refer to is not there"


@dataclass(frozen=True, eq=False)
class RtReader:
    """The ROIs of one structure set."""

    dataset: Dataset
    places: Places
    where: str
    names: Mapping[str, str] = field(default_factory=dict)

    def outlines(self) -> Iterator[Outline | Reject]:
        """Each ROI that marks a pixel of the series, and a reject for what does not lie on it.

        A contour that cannot be used takes what its ROI has on that slice with it: the rest would be half an outline.
        """
        contours = {int(c.ReferencedROINumber): c for c in self.dataset.get("ROIContourSequence") or ()}
        coded = {int(o.ReferencedROINumber): o for o in self.dataset.get("RTROIObservationsSequence") or ()}
        for roi in self.dataset.get("StructureSetROISequence") or ():
            number = int(roi.ROINumber)
            where = f"{self.where} ROI {number}"
            name = target_name(str(roi.get("ROIName") or ""), coded_name(coded.get(number, Dataset())), self.names)
            if name is None:
                yield Reject(where, "left out by the config (names)")
                continue
            stated = str(roi.get("ReferencedFrameOfReferenceUID") or "")
            problem = reference_problem(stated, self.places) or ("" if stated else "it names no frame of reference")
            if problem:
                yield Reject(where, problem)
                continue
            drawn = contours.get(number)
            yield from self._outline(name, where, list(drawn.get("ContourSequence") or ()) if drawn else [])

    def _outline(self, name: str, where: str, contours: list[Dataset]) -> Iterator[Outline | Reject]:
        if not contours:
            yield Reject(where, "the ROI has no contours")
            return
        found: dict[int, list[Vector]] = defaultdict(list)
        spoilt: dict[int, str] = {}
        lost: dict[str, set[float]] = defaultdict(set)
        for number, contour in enumerate(contours, 1):
            index, points, problem = self._placed(contour)
            if problem and index is None:
                height = number if points is None else round(float(points.mean(axis=0) @ self.places.axes[2]), 2)
                lost[problem].add(height)
            elif problem:
                assert index is not None
                spoilt[index] = problem
            else:
                assert index is not None and points is not None
                found[index].append(points)
        for problem, heights in lost.items():
            yield Reject(
                where, f"contours in {len(heights)} plane(s) are not on the series: {problem}", masks=len(heights)
            )
        for index, problem in spoilt.items():
            found.pop(index, None)
            yield Reject(f"{where} slice {index}", problem)
        draw = _Draw(self.places, dict(found))
        pixels = {index: int(draw(index).sum()) for index in sorted(found)}
        for index in (i for i, count in pixels.items() if not count):
            yield Reject(f"{where} slice {index}", "its contours enclose no pixel's centre within the picture")
        if any(pixels.values()):
            yield Outline(name, where, {i: count for i, count in pixels.items() if count}, draw)

    def _placed(self, contour: Dataset) -> tuple[int | None, Vector | None, str]:
        """The slice of a contour and its points ``(N, 3)``; what is wrong, where something is."""
        points = _points(contour.get("ContourData"))
        if points is None:
            return None, None, "its data are not triples of numbers"
        refers = [str(i.ReferencedSOPInstanceUID) for i in contour.get("ContourImageSequence") or ()]
        if refers and not set(refers) & self.places.instances:
            return None, points, _MISSING
        heights = points @ self.places.axes[2]
        index, away = self.places.at(points.mean(axis=0))
        if away > self.places.tolerance:
            return None, points, "they lie where no slice is"
        if np.ptp(heights) > _FLAT * max(1.0, self.places.tolerance * 4):
            return index, points, "a contour lies across the slices, not in one"
        if refers and self.places.series.sop_instance_uid(index) not in refers:
            return index, points, "a contour refers to one image and lies on another"
        kind = str(contour.get("ContourGeometricType") or "")
        if kind not in _CLOSED:
            return index, points, f"a contour is not closed ({kind or 'of no type'}); close it"
        if len(points) < 3:
            return index, points, f"a closed contour has {len(points)} point(s), at least 3 were expected"
        return index, points, ""


@dataclass(frozen=True, eq=False)
class _Draw:
    places: Places
    contours: Mapping[int, list[Vector]]

    def __call__(self, index: int) -> Mask:
        _, rows, columns = self.places.series.shape
        out = np.zeros((rows, columns), dtype=bool)
        for points in self.contours[index]:
            at = self.places.pixel_coordinates(points, index)
            inside = polygon(at[:, 0], at[:, 1], (rows, columns))
            out[inside] ^= True
        return out


def _points(data: Any) -> Vector | None:
    try:
        values = np.asarray([float(v) for v in data], dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return values.reshape(-1, 3) if values.size and values.size % 3 == 0 and np.isfinite(values).all() else None
