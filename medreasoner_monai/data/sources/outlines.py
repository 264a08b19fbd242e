"""What is outlined on a DICOM series, drawn slice by slice when it is asked for."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.values import Vector

Mask = NDArray[np.bool_]
_GENERIC = {
    "tissue",
    "organ",
    "anatomical structure",
    "body structure",
    "region of interest",
    "morphologically altered",
}


@dataclass(frozen=True, eq=False)
class Outline:
    """One structure of a segmentation or structure set.

    Attributes
    ----------
    name:
        As :func:`target_name` has it.
    where:
        The file and the segment or ROI, for people.
    pixels:
        Number of marked pixels by slice (from 0, in the series' order), where there are any.
    draw:
        Its mask on one of these slices, in the stored grid ``(rows, columns)``.
    """

    name: str
    where: str
    pixels: Mapping[int, int]
    draw: Callable[[int], Mask]


@dataclass(frozen=True, eq=False)
class Places:
    """Where the slices of a series lie, to find the slice of a frame or contour."""

    series: Series

    @cached_property
    def by_instance(self) -> dict[tuple[str, int], int]:
        """Slice by SOP Instance UID and frame (from 1)."""
        return {(self.series.sop_instance_uid(i), self.series.planes[i].frame + 1): i for i in range(len(self.series))}

    @cached_property
    def instances(self) -> frozenset[str]:
        """SOP Instance UIDs of the series."""
        return frozenset(uid for uid, _ in self.by_instance)

    @property
    def frame_of_reference(self) -> str:
        """Its UID; empty where slices have no place in the patient."""
        return str(self.series.headers[0].get("FrameOfReferenceUID") or "") if self.series.in_space else ""

    @cached_property
    def axes(self) -> tuple[Vector, Vector, Vector]:
        """Unit vectors along a stored row, down a stored column, and across the slices."""
        axes = self.series.planes[0].axes
        assert axes is not None
        return axes[:3], axes[3:], np.asarray(np.cross(axes[:3], axes[3:]), dtype=np.float64)

    @cached_property
    def spacing(self) -> tuple[float, float]:
        """Millimetres between rows and between columns; 1 where nothing is known."""
        return self.series.spacing or (1.0, 1.0)

    @cached_property
    def heights(self) -> Vector:
        """Each slice's place along the normal, mm; its number where slices are not in space."""
        if not self.series.in_space:
            return np.arange(len(self.series), dtype=np.float64)
        return np.array([float(p.position @ self.axes[2]) for p in self.series.planes if p.position is not None])

    @cached_property
    def tolerance(self) -> float:
        """How far from a slice, mm along the normal, something may lie that is on it: a quarter of their distance."""
        return 0.25 * (self.series.slice_distance or 2.0)

    def at(self, position: Vector) -> tuple[int, float]:
        """The nearest slice to a position in the patient, and how many mm it is away."""
        away = np.abs(self.heights - float(position @ self.axes[2]))
        nearest = int(away.argmin())
        return nearest, float(away[nearest])

    def pixel_coordinates(self, points: Vector, index: int) -> Vector:
        """Positions in the patient ``(N, 3)`` as continuous (row, column) of a slice's stored grid, centres whole."""
        origin = self.series.planes[index].position
        assert origin is not None
        row, column, _ = self.axes
        relative = points - origin
        return np.stack([relative @ column / self.spacing[0], relative @ row / self.spacing[1]], axis=1)


def target_name(label: str, codes: str, names: Mapping[str, str]) -> str | None:
    """What a structure is called: as the config says, else by its codes, else by its label; None where it is left out.

    Parameters
    ----------
    label:
        Segment Label or ROI Name.
    codes:
        The meaning of its codes, see :func:`coded_name`; empty where they say nothing.
    names:
        Target name by label; labels may hold ``*`` and ``?``, upper and lower case are one.
    """
    for pattern, name in names.items():
        if fnmatch.fnmatchcase(label.lower(), pattern.lower()):
            return name or None
    return codes or " ".join(label.replace("_", " ").lower().split()) or "unnamed structure"


def coded_name(segment: Dataset) -> str:
    """The meaning of a segment's or ROI's codes in words: side, region, type. Empty where they are general or none.

    The type is Segmented Property Type (PS3.3 C.8.20.2) or RT ROI Identification Code (C.8.8.8), its modifier the side.
    """
    item = _first(segment, "SegmentedPropertyTypeCodeSequence") or _first(segment, "RTROIIdentificationCodeSequence")
    meaning = _meaning(item)
    region = _first(segment, "AnatomicRegionSequence")
    if not meaning or (meaning in _GENERIC and not _meaning(region)):
        return ""
    sides = [
        _meaning(_first(segment, "SegmentedPropertyTypeModifierCodeSequence")),
        _meaning(_first(item, "RTROIIdentificationCodeModifierSequence")),
        _meaning(_first(region, "AnatomicRegionModifierSequence")),
        _meaning(_first(segment, "AnatomicRegionModifierSequence")),
    ]
    side = next((s for s in sides if s in ("left", "right")), "")
    place = _meaning(region)
    return " ".join(part for part in (side, place, "" if meaning in _GENERIC else meaning) if part)


def _first(dataset: Dataset | None, keyword: str) -> Dataset | None:
    items = dataset.get(keyword) if dataset is not None else None
    return items[0] if items else None


def _meaning(item: Dataset | None) -> str:
    return " ".join(str(item.get("CodeMeaning") or "").lower().split()) if item is not None else ""


def reference_problem(frame_of_reference: str, places: Places) -> str:
    """Why positions in a frame of reference do not lie on a series; empty where they do."""
    if not frame_of_reference or not places.frame_of_reference:
        return "it is in a frame of reference and its images are not" if frame_of_reference else ""
    if frame_of_reference == places.frame_of_reference:
        return ""
    return (
        f"it is in another frame of reference (…{frame_of_reference[-12:]}) than its images "
        f"(…{places.frame_of_reference[-12:]}); register and export it again"
    )
