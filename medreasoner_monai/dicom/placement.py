"""Where the slices of a series lie: their order in space, the distance between them, and what is odd about it.

Positions and orientations are in the patient's coordinates and in millimetres (PS3.3 C.7.6.2.1.1); those of a
multi-frame image come from its functional groups (PS3.3 C.7.6.16.2).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom.hanging import hung
from medreasoner_monai.dicom.pixels import frames
from medreasoner_monai.dicom.values import Vector, frame_value, vector

SAME_PLACE = 5e-3
"""Millimetres along the normal; nearer slices lie in one place."""
_ORTHONORMAL, _PARALLEL = 1e-2, 1e-2
_TILT = 0.5
_MISSING = 1.5
_UNEVEN = 0.05
_NAMED = 5


@dataclass(frozen=True, eq=False)
class Plane:
    """One slice's place.

    Attributes
    ----------
    file, frame:
        Which file of the series, which frame in it (both from 0).
    position:
        Centre of the first pixel, ``(3,)`` in mm, or None.
    axes:
        Directions of a row and of a column, unit vectors, ``(6,)``, or None.
    """

    file: int
    frame: int
    position: Vector | None
    axes: Vector | None

    @property
    def normal(self) -> Vector | None:
        """Unit vector across the slice, or None."""
        return None if self.axes is None else np.asarray(np.cross(self.axes[:3], self.axes[3:]), dtype=np.float64)


def planes_of(header: Dataset, file: int) -> list[Plane]:
    """The planes of a file, in frame order."""
    return [replace(plane, file=file, frame=frame) for frame, plane in enumerate(_places_of(header))]


def _places_of(header: Dataset) -> Iterator[Plane]:
    own = len(header.get("PerFrameFunctionalGroupsSequence") or [])
    plane = Plane(0, 0, None, None)
    for frame in range(frames(header)):
        if frame <= own:  # after the last frame with groups of its own, all are alike
            position = frame_value(header, frame, "PlanePositionSequence", "ImagePositionPatient")
            axes = frame_value(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
            plane = Plane(0, frame, vector(position, 3), _axes(axes))
        yield plane


def in_space(planes: Sequence[Plane]) -> bool:
    """Whether each plane has a position, and all have one orientation."""
    first = planes[0].axes if planes else None
    if first is None or any(p.position is None or p.axes is None for p in planes):
        return False
    return all(p.axes is not None and bool(np.abs(p.axes - first).max() <= _PARALLEL) for p in planes)


def heights(planes: Sequence[Plane]) -> Vector | None:
    """Each plane's distance along the common normal in mm, ``(N,)``; None where they are not in one space.

    The normal is that of the canonical view, so that slices are numbered alike however they are stored: from feet to
    head, from front to back, from left to right.
    """
    if not in_space(planes) or (axes := planes[0].axes) is None:
        return None
    seen = hung(axes).axes
    assert seen is not None
    normal = np.cross(seen[:3], seen[3:])
    positions = np.stack([p.position for p in planes if p.position is not None])
    return np.asarray(positions @ normal)


def places(along: Vector) -> NDArray[np.int64]:
    """The number of the place each slice lies in, ``(N,)``, counted from 0 upwards along the normal."""
    order = np.argsort(along, kind="stable")
    numbers = np.empty(len(along), dtype=np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) > SAME_PLACE)])
    return numbers


def distance(planes: Sequence[Plane]) -> float | None:
    """Millimetres between neighbouring places along the normal (the median), or None where there are not two."""
    along = heights(planes)
    if along is None:
        return None
    steps = np.diff(np.sort(along))
    steps = steps[steps > SAME_PLACE]
    return float(np.median(steps)) if steps.size else None


def remarks(planes: Sequence[Plane]) -> Iterator[str]:
    """What is odd about slices in order: gantry tilt, missing slices, uneven distances, missing positions."""
    along = heights(planes)
    if along is None:
        lost = sum(p.position is None or p.axes is None for p in planes)
        clip = lost == len(planes) and len({p.file for p in planes}) == 1
        if len(planes) > 1 and lost and not clip:
            which = "no slice has" if lost == len(planes) else f"{lost} of {len(planes)} slices have no"
            yield f"{which} a usable position and orientation: slices are in the order of their numbers"
        return
    steps = np.diff(along)
    if len(steps) and (steps > SAME_PLACE).all():
        yield from _tilt(planes)
        yield from _gaps(steps)


def _tilt(planes: Sequence[Plane]) -> Iterator[str]:
    first, last, normal = planes[0].position, planes[-1].position, planes[0].normal
    if first is None or last is None or normal is None:
        return
    way = last - first
    angle = np.degrees(np.arccos(np.clip(abs(way @ normal) / np.linalg.norm(way), 0, 1)))
    if angle > _TILT:
        yield (
            f"the slices are shifted against each other, by a gantry tilt of {angle:.1f} degrees: "
            "distances and volumes are taken along the normal"
        )


def _gaps(steps: Vector) -> Iterator[str]:
    middle = float(np.median(steps))
    wide = np.flatnonzero(steps > _MISSING * middle)
    if wide.size:
        named = ", ".join(f"{i} and {i + 1} ({steps[i]:.2f} mm apart)" for i in wide[:_NAMED])
        more = f", and {wide.size - _NAMED} more places" if wide.size > _NAMED else ""
        count = int(np.round(steps[wide] / middle - 1).sum())
        yield (
            f"about {count} slice(s) are missing, where others are {middle:.2f} mm apart: "
            f"between slices {named}{more}, counted from 0"
        )
    rest = np.delete(steps, wide)
    if rest.size and (np.abs(rest - middle) > _UNEVEN * middle).any():
        yield f"the distances between slices differ: {rest.min():.2f} to {rest.max():.2f} mm"


def groups_of(planes: Sequence[Plane]) -> list[list[int]]:
    """Indices of planes by orientation; planes without one are left out."""
    found: list[list[int]] = []
    for i, plane in enumerate(planes):
        if plane.axes is None:
            continue
        for members in found:
            first = planes[members[0]].axes
            if first is not None and np.abs(plane.axes - first).max() <= _PARALLEL:
                members.append(i)
                break
        else:
            found.append([i])
    return found


def _axes(value: object) -> Vector | None:
    axes = vector(value, 6)
    if axes is None:
        return None
    row, column = axes[:3], axes[3:]
    off = max(abs(float(np.linalg.norm(row)) - 1), abs(float(np.linalg.norm(column)) - 1), abs(float(row @ column)))
    return axes if off <= _ORTHONORMAL else None


def numbers_missing(numbers: Sequence[int]) -> int:
    """How many Instance Numbers are skipped between the least and the greatest of different ones."""
    known = sorted(set(numbers))
    return sum(b - a - 1 for a, b in pairwise(known))
