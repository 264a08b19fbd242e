"""A box and two key points from a mask: the prompts that the true mask would have been given."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.geometry import Box, Frame, Points


def mask_frame(mask: NDArray[np.bool_]) -> Frame:
    """The stored frame of a mask ``(rows, cols)``."""
    return Frame(mask.shape[1], mask.shape[0], "stored")


def mask_box(mask: NDArray[np.bool_]) -> Box:
    """The smallest box that holds every pixel of the mask; its right and lower edges lie behind the last pixel.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    cols, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if cols.size == 0:
        raise ValueError("an empty mask has no box")
    return Box(float(cols[0]), float(rows[0]), float(cols[-1] + 1), float(rows[-1] + 1), mask_frame(mask))


def key_points(mask: NDArray[np.bool_]) -> Points:
    """Two points well inside the largest part of the mask, apart along its long axis.

    Each is the best inside pixel of its half: the mask is cut in two through its centre, across its principal axis, and
    in each half the pixel that lies deepest inside and nearest to half the half-length is taken. Points are pixel
    centres, ordered by their place along x, then y.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    if not mask.any():
        raise ValueError("an empty mask has no key points")
    # Only the rows and columns that hold something: a mask is small in a large picture.
    filled_rows, filled_cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(filled_rows[0]), int(filled_cols[0])
    inner = mask[top : filled_rows[-1] + 1, left : filled_cols[-1] + 1].astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(inner, connectivity=4)
    part = labels == 1 + int(np.argmax(stats[1:count, cv2.CC_STAT_AREA]))
    rows, cols = np.nonzero(part)
    xy = np.stack([cols + left, rows + top], axis=1) + 0.5
    centred = xy - xy.mean(axis=0)
    axis = np.linalg.eigh(np.cov(centred.T) if len(xy) > 1 else np.eye(2))[1][:, -1]
    along = centred @ axis
    # One pixel of border, so that the picture's edge counts as outside.
    depth = cv2.distanceTransform(np.pad(part, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1][rows, cols]
    picked = []
    for side in (along <= 0, along > 0):
        side = side if side.any() else np.ones_like(side)
        aim = along[side].min() / 2 if along[side].mean() <= 0 else along[side].max() / 2
        scale = max(np.abs(along).max(), 1.0)
        score = depth[side] / max(depth.max(), 1.0) - np.abs(along[side] - aim) / scale
        picked.append(tuple(float(v) for v in xy[side][int(np.argmax(score))]))
    first, second = sorted(picked)
    return Points((first[0], first[1]), (second[0], second[1]), mask_frame(mask))
