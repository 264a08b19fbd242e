"""How a picture is hung: one canonical view per kind of acquisition, as a radiologist expects it.

| acquisition | along a row, to the right | down a column |
|---|---|---|
| axial | to the patient's left | to the back |
| coronal, frontal radiograph | to the patient's left | to the feet |
| sagittal, lateral radiograph | to the back | to the feet |
| mammogram of the left (right) breast, MLO and the like | to the front (back) | to the feet |
| mammogram of the left (right) breast, CC | to the front (back) | to the right (left): the lateral side is on top |

An oblique plane is hung as the nearest of the first three. Pictures are mirrored and turned by right angles only, never
resampled. Where a picture lies is known from Image Orientation (Patient), else from Patient Orientation. View Position
says which way the beam went, not whether the picture is stored mirrored, and is not used.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from pydicom import Dataset

from medreasoner_monai.dicom.letters import direction_of
from medreasoner_monai.dicom.values import Vector, frame_value
from medreasoner_monai.dicom.view import Orientation

NOT_STATED = "the file has neither Image Orientation (Patient) nor Patient Orientation"
NOT_READABLE = "Patient Orientation does not name two perpendicular directions"
CONTRADICTION = "Image Orientation (Patient) and Patient Orientation contradict each other"
QUADRUPED = "the patient is an animal on four legs, whose directions have other names"

_L, _P, _H = np.eye(3)
AXIAL, CORONAL, SAGITTAL = (_L, _P), (_L, -_H), (_P, -_H)
_BY_NORMAL = (SAGITTAL, CORONAL, AXIAL)
"""By the axis (x, y, z) that is nearest to the plane's normal."""
_TURNS = tuple(itertools.product((False, True), repeat=3))


def hang(header: Dataset, frame: int, axes: Vector | None) -> Orientation:
    """The canonical view of a frame; the stored grid, with a reason, where nothing says how it lies in the patient.

    Parameters
    ----------
    header:
        Of the file.
    frame:
        From 0.
    axes:
        Image Orientation (Patient) of the frame: unit vectors along a stored row and down a stored column, LPS
        ``(6,)``; None where there is none.
    """
    if header.get("AnatomicalOrientationType") == "QUADRUPED":
        return Orientation(unknown_because=QUADRUPED)
    given = header.get("PatientOrientation")
    stated = stated_axes(given)
    if axes is None:
        if stated is None:
            return Orientation(unknown_because=NOT_READABLE if given else NOT_STATED)
        axes = stated
    elif stated is not None and _disagree(axes, stated):
        return Orientation(unknown_because=CONTRADICTION)
    if header.get("Modality") == "MG":
        return _breast(header, frame, axes)
    return hung(axes)


def hung(axes: Vector, wanted: tuple[Vector, Vector] | None = None) -> Orientation:
    """The turn by which a plane's view comes nearest to two directions.

    Parameters
    ----------
    axes:
        Unit vectors along a stored row and down a stored column, LPS ``(6,)``.
    wanted:
        Unit vectors along a row and down a column of the view; by default those of the nearest canonical plane. Of
        planes or turns that are equally near the choice depends on directions in the patient alone, so that it is the
        same however the plane is stored.
    """
    right, down = wanted or _nearest(axes)

    def nearness(orientation: Orientation) -> tuple[float, ...]:
        assert orientation.axes is not None
        x, y = orientation.axes[:3], orientation.axes[3:]
        return (round(float(x @ right + y @ down), 6), *x.round(6), *y.round(6))

    return max((_turned(axes, *turn) for turn in _TURNS), key=nearness)


def stated_axes(value: object) -> Vector | None:
    """Patient Orientation as two unit vectors in LPS ``(6,)``; None where it is not two perpendicular directions.

    >>> stated_axes(["L", "F"])
    array([ 1.,  0.,  0.,  0.,  0., -1.])
    """
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        return None
    letters = [str(v).strip().upper() for v in value]
    row, column = direction_of(letters[0]), direction_of(letters[1])
    if row is None or column is None or np.abs(row).argmax() == np.abs(column).argmax():
        return None
    return np.concatenate([row, column])


def laterality(header: Dataset, frame: int = 0) -> str:
    """The side of a paired part that a frame shows, ``L`` or ``R``; empty where the file does not say."""
    for value in (
        frame_value(header, frame, "FrameAnatomySequence", "FrameLaterality"),
        header.get("ImageLaterality"),
        header.get("Laterality"),
    ):
        if value in ("L", "R"):
            return str(value)
        if value in ("B", "U"):
            return ""
    return ""


def _breast(header: Dataset, frame: int, axes: Vector) -> Orientation:
    side = laterality(header, frame)
    if not side:
        return Orientation(axes)  # known where it lies, but not which way it is hung
    forwards = -_P if side == "L" else _P
    # The row of a craniocaudal view runs front to back, its column from side to side.
    across = {int(np.abs(axes[:3]).argmax()), int(np.abs(axes[3:]).argmax())} == {0, 1}
    inwards = -_L if side == "L" else _L
    return hung(axes, (forwards, inwards if across else -_H))


def _nearest(axes: Vector) -> tuple[Vector, Vector]:
    normal = np.abs(np.cross(axes[:3], axes[3:])).round(6)
    return _BY_NORMAL[2 - int(normal[::-1].argmax())]


def _turned(axes: Vector, transposed: bool, mirrored_columns: bool, mirrored_rows: bool) -> Orientation:
    x, y = (axes[3:], axes[:3]) if transposed else (axes[:3], axes[3:])
    seen = np.concatenate([-x if mirrored_columns else x, -y if mirrored_rows else y])
    return Orientation(seen, transposed, mirrored_columns, mirrored_rows)


def _disagree(axes: Vector, stated: Vector) -> bool:
    """Whether a stated direction is more than 90 degrees off the measured one."""
    return bool(axes[:3] @ stated[:3] < 0 or axes[3:] @ stated[3:] < 0)
