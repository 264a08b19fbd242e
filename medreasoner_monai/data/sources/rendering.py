"""From views to pictures: a slice as the model will be asked about it, with the record of how it was made."""

from __future__ import annotations

from dataclasses import replace

from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.dicom.view import Orientation, View

_SIDES = {"L": "right", "R": "left"}
_PLANES = ("sagittal", "coronal", "axial")


def left_of(orientation: Orientation) -> str:
    """Which side of the patient lies on the picture's left: ``right``, ``left``, or empty where neither does.

    >>> import numpy as np
    >>> left_of(Orientation(np.array([1.0, 0, 0, 0, 1, 0])))
    'right'
    """
    return "" if orientation.letters is None else _SIDES.get(orientation.letters[0][:1], "")


def plane_of(orientation: Orientation) -> str:
    """``axial``, ``coronal`` or ``sagittal``, whichever is nearest; empty where it is unknown."""
    if orientation.axes is None:
        return ""
    x, y = orientation.axes[:3], orientation.axes[3:]
    normal = [abs(x[1] * y[2] - x[2] * y[1]), abs(x[2] * y[0] - x[0] * y[2]), abs(x[0] * y[1] - x[1] * y[0])]
    return _PLANES[max((2, 1, 0), key=normal.__getitem__)]


def described(origin: SourceRef, view: View) -> SourceRef:
    """An origin with what a view says of itself: slice, plane, window, rule and side."""
    window = "" if view.voi.window is None else f"{view.voi.window[0]:g}/{view.voi.window[1]:g}"
    return replace(
        origin,
        slice=view.index,
        plane=plane_of(view.orientation),
        window=window,
        rule=view.rule_digest,
        left=left_of(view.orientation),
    )
