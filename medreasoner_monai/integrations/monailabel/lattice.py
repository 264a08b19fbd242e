"""Where a series' voxels lie in the patient: what a label file needs to fit on the images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.series import Series

UNEVEN = 0.01
"""Slice distances that differ by more than this share of their mean are called uneven."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """A regular grid of voxels in DICOM's patient coordinates (LPS, mm).

    Attributes
    ----------
    origin:
        ``(3,)``, the centre of the first voxel.
    spacing:
        ``(3,)``, mm from column to column, row to row, slice to slice.
    direction:
        ``(3, 3)``; its columns are the unit vectors along a row, along a column and across the slices.
    even:
        Whether the slices are evenly spaced; if not, the slice spacing is the mean and the grid an approximation.
    """

    origin: NDArray[np.float64]
    spacing: NDArray[np.float64]
    direction: NDArray[np.float64]
    even: bool = True

    @classmethod
    def of(cls, series: Series) -> Lattice:
        """A series' grid (PS3.3 C.7.6.2.1.1), its slices in series order.

        Without positions, as in a projection X-ray, it starts at 0 and lies along the axes; what has no size is 1 mm.
        """
        rows, columns = series.spacing or _detector(series) or (1.0, 1.0)
        thickness = series.slice_distance or 1.0
        first = series.planes[0]
        if not series.in_space or first.axes is None or first.position is None:
            return cls(np.zeros(3), np.array([columns, rows, thickness]), np.eye(3))
        normal = np.cross(first.axes[:3], first.axes[3:])
        steps = np.diff(np.stack([p.position for p in series.planes if p.position is not None]) @ normal)
        step = float(steps.mean()) if steps.size and steps.mean() else thickness
        return cls(
            first.position,
            np.array([columns, rows, abs(step)]),
            np.stack([first.axes[:3], first.axes[3:], normal * np.sign(step)], axis=1),
            not steps.size or bool(np.abs(steps - step).max() <= UNEVEN * abs(step)),
        )


def _detector(series: Series) -> tuple[float, float] | None:
    """What viewers take for an X-ray's spacing: at the detector, not in the patient."""
    try:
        rows, columns = (float(v) for v in series.headers[0].get("ImagerPixelSpacing") or ())
    except (TypeError, ValueError):
        return None
    return (rows, columns) if rows > 0 and columns > 0 else None
