"""Whether two pictures whose hashes are alike are one picture: the correlation of their details, laid over each other.

Two fundus photographs or chest radiographs of different patients are alike in all that is coarse: their plain
correlation reaches 0.98. What tells them apart are details, so the local mean is taken out and the local contrast
evened out first, which also makes up for another window. What remains only agrees where the pictures lie exactly over
each other; a copy that was moved, cropped, turned a little or padded is laid over first (phase correlation; Evangelidis
& Psarakis, PAMI 2008). The threshold and what it finds and misses are measured in docs/data-firewall.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.fingerprints import SIDE, Gray, Look, inner_part

SAME = 0.9
"""Likeness from which on two pictures are one."""
_HOPELESS = 0.4  # a likeness under which finer alignment is not tried
_FINE, _COARSE, _NOISE = 2.0, 6.0, 4.0  # pixels, pixels, grey values
_MOVED = 0.2  # of a side
_TURNED = 0.2  # sine, and the shear

Warp = NDArray[np.float32]


def likeness(a: Look, b: Look) -> float:
    """From -1 to 1: the correlation of the details of two thumbnails in the best position found."""
    first, second = a.pixels, b.pixels
    details = _details(first)
    found = [(_agreement(details, second, warp), n, warp) for n, warp in enumerate(_starts(first, second))]
    best, _, warp = max(found)
    if best >= SAME or best < _HOPELESS:
        return best
    finer = _refine(first, second, warp)
    return best if finer is None else max(best, _agreement(details, second, finer))


def _details(x: Gray) -> Gray:
    smooth = cv2.GaussianBlur(x, (0, 0), 0.7)
    difference = smooth - cv2.GaussianBlur(smooth, (0, 0), _FINE)
    contrast = np.sqrt(cv2.GaussianBlur(difference * difference, (0, 0), _FINE))
    return np.asarray(difference / (contrast + _NOISE), dtype=np.float32)


def _starts(a: Gray, b: Gray) -> Iterator[Warp]:
    """Where ``b`` may lie over ``a``: as it is, moved, and with the inner parts over each other."""
    yield np.eye(2, 3, dtype=np.float32)
    window = cv2.createHanningWindow((SIDE, SIDE), cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(a - a.mean(), b - b.mean(), window)
    if 0.2 < max(abs(dx), abs(dy)) < _MOVED * SIDE:
        yield np.array([[1, 0, dx], [0, 1, dy]], dtype=np.float32)
    boxes = [inner_part(x) for x in (a, b)]
    if boxes[0] != boxes[1]:
        (top, bottom, left, right), (top_b, bottom_b, left_b, right_b) = boxes
        sx, sy = (right_b - left_b) / (right - left), (bottom_b - top_b) / (bottom - top)
        if all(0.6 < s < 1.7 for s in (sx, sy)):
            # Pixel centres lie half a pixel inside their edges.
            at = (left_b - 0.5 - sx * (left - 0.5), top_b - 0.5 - sy * (top - 0.5))
            yield np.array([[sx, 0, at[0]], [0, sy, at[1]]], dtype=np.float32)


def _refine(a: Gray, b: Gray, warp: Warp) -> Warp | None:
    """An affine warp near a start that lays the coarser details over each other best; None if there is none."""
    first, second = (x - cv2.GaussianBlur(x, (0, 0), _COARSE) for x in (a, b))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
    try:
        _, found = cv2.findTransformECC(
            first, second, warp.copy(), cv2.MOTION_AFFINE, stop, np.full(first.shape, 255, np.uint8), 3
        )
    except cv2.error:  # did not converge
        return None
    moved = np.asarray(found, dtype=np.float32) - warp
    near = np.abs(moved[:, :2]).max() < _TURNED and np.abs(moved[:, 2]).max() < _MOVED * SIDE
    return np.asarray(found, dtype=np.float32) if near else None


def _agreement(details: Gray, b: Gray, warp: Warp) -> float:
    """Correlation with the details of ``b`` under a warp, over what both show; 0 where that is under half of it."""
    if (warp == np.eye(2, 3)).all():
        return _correlation(details.ravel(), _details(b).ravel())
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    laid = cv2.warpAffine(b, warp, (SIDE, SIDE), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = np.ones(b.shape, np.uint8)
    shown = cv2.warpAffine(inside, warp, (SIDE, SIDE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP)
    whole = cv2.erode(shown, np.ones((3, 3), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0
    if whole.mean() < 0.5:
        return 0.0
    return _correlation(details[whole], _details(np.asarray(laid, dtype=np.float32))[whole])


def _correlation(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / size if size > 0 else 0.0
