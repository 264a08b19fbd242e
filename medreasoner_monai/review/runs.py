"""Masks as run lengths: what travels between page and server, and CVAT's files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import InputError


def to_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of the runs of a mask ``(rows, cols)``, row after row, background first (which may be 0 long).

    >>> to_runs(np.array([[True, False], [False, True]]))
    [0, 1, 2, 1]
    """
    flat = np.concatenate([[False], mask.ravel()])
    edges = np.flatnonzero(np.diff(flat))
    return [int(n) for n in np.diff([0, *edges.tolist(), mask.size])] if mask.size else []


def from_runs(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask ``(rows, cols)`` of :func:`to_runs`.

    Raises
    ------
    InputError
        If a run is negative, or the runs do not fill the shape.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    if lengths.ndim != 1 or (lengths < 0).any() or int(lengths.sum()) != shape[0] * shape[1]:
        raise InputError(f"the runs of a mask do not fill {shape[0]} x {shape[1]} (rows x columns)")
    marked = np.arange(lengths.size) % 2 == 1
    return np.repeat(marked, lengths).reshape(shape)
