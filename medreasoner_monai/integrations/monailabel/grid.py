"""The regular grid of a label file: where a series' voxels lie in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.spacing import calibrated_spacing
from medreasoner_monai.task.findings import Finding

if TYPE_CHECKING:
    from highdicom import Volume, VolumeGeometry

UNEVEN = 0.01
"""Slice distances that differ by more than this share of their mean are called uneven."""
VALUE = 1
"""The label's value; everything else is 0."""
_NOT_MEASURED = (1.0, 1.0)


@dataclass(frozen=True, eq=False)
class Grid:
    """A series' voxels on a regular grid with perpendicular axes, which is all that NIfTI readers agree on.

    Attributes
    ----------
    geometry:
        Axes are slice, row, column; in DICOM's patient coordinates (LPS, mm).
    corners:
        ``(slices, 2)``: row and column of the grid where each slice has its first pixel. They differ where slices are
        shifted against each other (a tilted gantry); the grid is then larger than a slice.
    notes:
        What to know about it.
    """

    geometry: VolumeGeometry
    corners: NDArray[np.int64]
    notes: tuple[str, ...] = ()

    def label(self, finding: Finding) -> Volume:
        """A finding's mask, uint8, :data:`VALUE` where it is marked; all zero where nothing was found."""
        voxels = np.zeros(self.geometry.spatial_shape, dtype=np.uint8)
        for index, mask in finding.marked.items():
            (top, left), (rows, columns) = self.corners[index], mask.shape
            voxels[index, top : top + rows, left : left + columns][mask] = VALUE
        return self.geometry.with_array(voxels)


def grid_of(series: Series) -> Grid:
    """A series' grid (PS3.3 C.7.6.2.1.1), its slices in series order.

    Without positions, as in a projection X-ray, it starts at 0 and lies along the axes; what has no size is 1 mm.
    """
    from highdicom import VolumeGeometry

    count, rows, columns = series.shape
    known = calibrated_spacing(series.headers[series.planes[0].file], series.planes[0].frame)
    between = series.spacing or ((known.row, known.column) if known else _NOT_MEASURED)
    thickness = series.slice_distance or 1.0
    axes, positions = _axes(series), _positions(series)
    if axes is None or positions is None:
        geometry = VolumeGeometry.from_components(
            series.shape,
            spacing=(thickness, *between),
            coordinate_system="PATIENT",
            position=(0, 0, 0),
            direction=np.eye(3)[:, ::-1].ravel().tolist(),
        )
        return Grid(geometry, np.zeros((count, 2), dtype=np.int64))
    along = (positions - positions[0]) @ axes  # (slices, 3): mm across the slices, down a column, along a row
    steps = np.diff(along[:, 0])
    step = float(steps.mean()) if steps.size and steps.mean() else thickness
    shifts = np.round(along[:, 1:] / between).astype(np.int64)
    first = shifts.min(axis=0)
    extent = shifts.max(axis=0) - first
    notes = []
    if steps.size and np.abs(steps - step).max() > UNEVEN * abs(step):
        notes.append("slices are unevenly spaced: the label file has them at their mean distance")
    if extent.any():
        notes.append(
            f"slices are shifted against each other: the label file has {rows + extent[0]} x {columns + extent[1]} "
            "pixels in each, to within half a pixel where they lie in the patient"
        )
    geometry = VolumeGeometry.from_components(
        (count, rows + int(extent[0]), columns + int(extent[1])),
        spacing=(abs(step), *between),
        coordinate_system="PATIENT",
        position=positions[0] + axes[:, 1:] @ (first * between),
        direction=(axes * (np.sign(step), 1, 1)).ravel().tolist(),
        frame_of_reference_uid=str(series.headers[0].get("FrameOfReferenceUID") or "") or None,
    )
    return Grid(geometry, shifts - first, tuple(notes))


def _axes(series: Series) -> NDArray[np.float64] | None:
    """Unit vectors across the slices, down a column and along a row, as columns ``(3, 3)``.

    Headers round directions, and a grid wants them perpendicular: the row keeps its own.
    """
    axes = series.planes[0].axes
    if not series.in_space or axes is None:
        return None
    row = axes[:3] / np.linalg.norm(axes[:3])
    column = axes[3:] - (axes[3:] @ row) * row
    column /= np.linalg.norm(column)
    return np.stack([np.cross(row, column), column, row], axis=1)


def _positions(series: Series) -> NDArray[np.float64] | None:
    known = [p.position for p in series.planes if p.position is not None]
    return np.stack(known) if len(known) == len(series) else None
