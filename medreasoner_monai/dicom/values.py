"""Values of a header: those of one frame, wherever a multi-frame image keeps them, and lists of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

Vector = NDArray[np.float64]
_GROUPS = ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence")


def frame_value(header: Dataset, frame: int, group: str, keyword: str) -> object:
    """A value of one frame (PS3.3 C.7.6.16).

    Parameters
    ----------
    frame:
        From 0.
    group:
        Functional group that holds it in a multi-frame image, such as ``PixelMeasuresSequence``.

    Returns
    -------
    From the frame's functional groups, else the shared ones, else the top level; None where it is nowhere.
    """
    for sequence, index in zip(_GROUPS, (frame, 0), strict=True):
        items = header.get(sequence) or []
        inner = items[index].get(group) if index < len(items) else None
        if inner and inner[0].get(keyword) is not None:
            return inner[0][keyword].value
    return header[keyword].value if header.get(keyword) is not None else None


def vector(value: object, length: int) -> Vector | None:
    """A multi-valued attribute as ``length`` finite numbers, or None where it is something else."""
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        return None
    try:
        values = np.asarray([float(v) for v in value])
    except (TypeError, ValueError, OverflowError):
        return None
    return values if values.shape == (length,) and np.isfinite(values).all() else None
