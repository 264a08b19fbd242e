"""Answers and masks moved between a view, which the models see, and the stored DICOM frame, which findings are in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.view import Mask, Orientation
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.geometry import Box, Frame, Points

_Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
Shape = tuple[int, int]
"""``(rows, columns)`` of a view."""


def stored_answer(answer: Grounding, orientation: Orientation, shape: Shape) -> Grounding:
    """An answer in a view's frame as (column, row) of the DICOM frame.

    Parameters
    ----------
    answer:
        Box and points in the frame ``view``.
    orientation, shape:
        The view's.
    """
    rows, columns = reversed(shape) if orientation.transposed else shape
    frame = Frame(columns, rows, "dicom")
    return _moved(answer, frame, lambda xy: orientation.to_stored(xy, shape))


def viewed_answer(answer: Grounding, orientation: Orientation, shape: Shape) -> Grounding:
    """The inverse of :func:`stored_answer`; ``shape`` is the view's."""
    rows, columns = shape
    return _moved(answer, Frame(columns, rows, "view"), lambda xy: orientation.from_stored(xy, shape))


def stored_mask(mask: Mask, orientation: Orientation) -> Mask:
    """A view's mask ``(rows, columns)`` on the stored frame's pixels."""
    return np.ascontiguousarray(orientation.turn_back(mask), dtype=np.bool_)


def viewed_mask(mask: Mask, orientation: Orientation) -> Mask:
    """The inverse of :func:`stored_mask`."""
    return np.ascontiguousarray(orientation.turn(mask), dtype=np.bool_)


def _moved(answer: Grounding, frame: Frame, move: _Move) -> Grounding:
    x1, y1, x2, y2 = answer.box.xyxy
    (ax, ay), (bx, by) = move(np.array([[x1, y1], [x2, y2]])).tolist()
    first, second = move(np.array(answer.points.xy)).tolist()
    # A mirrored box has its corners exchanged.
    box = Box(min(ax, bx), min(ay, by), max(ax, bx), max(ay, by), frame)
    return Grounding(answer.trace, box, Points((first[0], first[1]), (second[0], second[1]), frame))
