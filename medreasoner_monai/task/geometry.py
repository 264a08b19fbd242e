"""The one geometry that rewards and evaluation share: frames, boxes, point pairs and what is measured on them.

Coordinates are continuous and in pixels: the pixel in column ``c`` and row ``r`` covers ``[c, c + 1) x [r, r + 1)``, so
an image of ``width`` x ``height`` spans ``[0, width] x [0, height]``. This is also how DICOM counts in an SCOORD with
(column, row) (PS3.3 C.18.6.1.1). A shape knows its :class:`Frame`; only :func:`convert` moves it to another one.

The measures take arrays, one row a pair, and return one value a row, so that a batch costs one call.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Space = Literal["stored", "model", "view", "dicom"]


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixel grid that coordinates are counted in.

    ``stored`` is the image as it lies in the data set, ``model`` what the reasoner's processor resized it to,
    ``view`` the picture of a DICOM frame in the orientation it is shown in, ``dicom`` that frame's (column, row).
    """

    width: int
    height: int
    space: Space = "stored"

    def __post_init__(self) -> None:
        if self.width < 1 or self.height < 1:
            raise ValueError(f"a frame needs at least one pixel each way, got {self.width} x {self.height}")


@dataclass(frozen=True, slots=True)
class Box:
    """An upright box, ``(x1, y1)`` its upper left and ``(x2, y2)`` its lower right corner, in its frame's pixels.

    Raises
    ------
    ValueError
        If a coordinate is not finite, or ``x2 <= x1`` or ``y2 <= y1``.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    frame: Frame

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in self.xyxy):
            raise ValueError(f"box coordinates must be finite, got {self.xyxy}")
        if self.x2 <= self.x1 or self.y2 <= self.y1:
            raise ValueError(f"a box needs x2 > x1 and y2 > y1, got {self.xyxy}")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)``."""
        return (self.x1, self.y1, self.x2, self.y2)

    @property
    def area(self) -> float:
        """In square pixels of the frame."""
        return (self.x2 - self.x1) * (self.y2 - self.y1)

    def within(self, slack: float = 0.0) -> bool:
        """Whether the box lies inside its frame, up to ``slack`` pixels."""
        f = self.frame
        return self.x1 >= -slack and self.y1 >= -slack and self.x2 <= f.width + slack and self.y2 <= f.height + slack


@dataclass(frozen=True, slots=True)
class Points:
    """Two key points ``(x, y)`` on the target, in the frame's pixels; their order has no meaning."""

    first: tuple[float, float]
    second: tuple[float, float]
    frame: Frame

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (*self.first, *self.second)):
            raise ValueError(f"point coordinates must be finite, got {self.first}, {self.second}")

    @property
    def xy(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """``((x, y), (x, y))``."""
        return (self.first, self.second)


Shape = TypeVar("Shape", Box, Points)


@overload
def convert(shape: Box, to: Frame) -> Box: ...
@overload
def convert(shape: Points, to: Frame) -> Points: ...
def convert(shape: Box | Points, to: Frame) -> Box | Points:
    """The same shape counted in another frame of the same picture (both span the whole picture).

    There and back again is exact up to floating point; nothing is rounded or clipped.
    """
    sx, sy = to.width / shape.frame.width, to.height / shape.frame.height
    if isinstance(shape, Box):
        return Box(shape.x1 * sx, shape.y1 * sy, shape.x2 * sx, shape.y2 * sy, to)
    (ax, ay), (bx, by) = shape.xy
    return Points((ax * sx, ay * sy), (bx * sx, by * sy), to)


def _boxes(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1, 4)


def _pairs(values: ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1, 2, 2)


def box_area(boxes: ArrayLike) -> Array:
    """Areas ``(N,)`` of boxes ``(N, 4)`` in XYXY; 0 for an inverted box."""
    b = _boxes(boxes)
    return np.clip(b[:, 2] - b[:, 0], 0, None) * np.clip(b[:, 3] - b[:, 1], 0, None)


def _overlap(a: Array, b: Array) -> Array:
    size = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    return np.prod(np.clip(size, 0, None), axis=1)


def box_iou(a: ArrayLike, b: ArrayLike) -> Array:
    """Intersection over union ``(N,)`` of boxes ``(N, 4)`` in XYXY and one frame."""
    a, b = _boxes(a), _boxes(b)
    inter = _overlap(a, b)
    union = box_area(a) + box_area(b) - inter
    return np.divide(inter, union, out=np.zeros_like(inter), where=union > 0)


def generalised_iou(a: ArrayLike, b: ArrayLike) -> Array:
    """``IoU - (hull - union) / hull`` ``(N,)``, in [-1, 1] (Rezatofighi et al., CVPR 2019)."""
    a, b = _boxes(a), _boxes(b)
    inter = _overlap(a, b)
    union = box_area(a) + box_area(b) - inter
    hull = np.prod(np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2]), axis=1)
    return box_iou(a, b) - np.divide(hull - union, hull, out=np.zeros_like(hull), where=hull > 0)


def box_diagonal(boxes: ArrayLike) -> Array:
    """Diagonals ``(N,)`` in pixels of boxes ``(N, 4)`` in XYXY."""
    b = _boxes(boxes)
    return np.hypot(b[:, 2] - b[:, 0], b[:, 3] - b[:, 1])


def box_edge_offset(pred: ArrayLike, truth: ArrayLike) -> Array:
    """Mean absolute difference ``(N,)`` of the four edges, in pixels."""
    return np.abs(_boxes(pred) - _boxes(truth)).mean(axis=1)


def box_scale_gap(pred: ArrayLike, truth: ArrayLike) -> Array:
    """``sqrt((d ln area)^2 + (d ln aspect)^2)`` ``(N,)``; 0 when both have one size and shape."""
    p, t = _boxes(pred), _boxes(truth)
    pw, ph = p[:, 2] - p[:, 0], p[:, 3] - p[:, 1]
    tw, th = t[:, 2] - t[:, 0], t[:, 3] - t[:, 1]
    width, height = np.log(pw) - np.log(tw), np.log(ph) - np.log(th)
    return np.hypot(width + height, width - height)


def inside_box(points: ArrayLike, boxes: ArrayLike) -> NDArray[np.bool_]:
    """Whether each of two points ``(N, 2, 2)`` lies in (or on) its box ``(N, 4)``: ``(N, 2)``."""
    p, b = _pairs(points), _boxes(boxes)[:, None, :]
    return np.asarray(((p >= b[..., :2]) & (p <= b[..., 2:])).all(axis=-1))


def _circle_parts(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Intersection and the two areas of circles that have each pair of points as a diameter."""
    ca, cb = a.mean(axis=1), b.mean(axis=1)
    ra = np.hypot(*(a[:, 0] - a[:, 1]).T) / 2
    rb = np.hypot(*(b[:, 0] - b[:, 1]).T) / 2
    d = np.hypot(*(ca - cb).T)
    area_a, area_b = np.pi * ra**2, np.pi * rb**2
    inter = np.where(d <= np.abs(ra - rb), np.minimum(area_a, area_b), 0.0)
    lens = (d < ra + rb) & (d > np.abs(ra - rb))
    if lens.any():
        x, r, s = d[lens], ra[lens], rb[lens]
        cos_r = np.clip((x**2 + r**2 - s**2) / (2 * x * r), -1, 1)
        cos_s = np.clip((x**2 + s**2 - r**2) / (2 * x * s), -1, 1)
        kite = np.clip((r + s - x) * (x + r - s) * (x - r + s) * (x + r + s), 0, None)
        # Circles that only just touch may come out a rounding error below nothing.
        inter[lens] = np.clip(r**2 * np.arccos(cos_r) + s**2 * np.arccos(cos_s) - np.sqrt(kite) / 2, 0, None)
    return inter, area_a, area_b


def circle_dice(a: ArrayLike, b: ArrayLike) -> Array:
    """Dice ``2 I / (A + B)`` ``(N,)`` of the circles that have each pair of points ``(N, 2, 2)`` as a diameter.

    The paper's pDice with the denominator corrected. Two points that coincide span no circle and score 0.
    """
    inter, area_a, area_b = _circle_parts(_pairs(a), _pairs(b))
    total = area_a + area_b
    return np.divide(2 * inter, total, out=np.zeros_like(inter), where=total > 0)


def released_pdice(a: ArrayLike, b: ArrayLike) -> Array:
    """``2 I / union`` ``(N,)`` as the released code has it: twice the circle IoU, up to 2. For comparison only."""
    inter, area_a, area_b = _circle_parts(_pairs(a), _pairs(b))
    union = area_a + area_b - inter
    return np.divide(2 * inter, union, out=np.zeros_like(inter), where=union > 0)


def point_offset(pred: ArrayLike, truth: ArrayLike) -> Array:
    """Mean over the better pairing of ``(|dx| + |dy|) / 2`` ``(N,)``, in pixels."""
    p, t = _pairs(pred), _pairs(truth)
    straight = np.abs(p - t).mean(axis=(1, 2))
    crossed = np.abs(p - t[:, ::-1]).mean(axis=(1, 2))
    return np.minimum(straight, crossed)


def point_distance(pred: ArrayLike, truth: ArrayLike) -> Array:
    """Mean Euclidean distance over the better pairing ``(N,)``, in pixels."""
    p, t = _pairs(pred), _pairs(truth)
    straight = np.linalg.norm(p - t, axis=2).mean(axis=1)
    crossed = np.linalg.norm(p - t[:, ::-1], axis=2).mean(axis=1)
    return np.minimum(straight, crossed)


def point_spread(points: ArrayLike) -> Array:
    """Distance ``(N,)`` between the two points of each pair, in pixels."""
    p = _pairs(points)
    return np.linalg.norm(p[:, 0] - p[:, 1], axis=1)


def axis_cosine(a: ArrayLike, b: ArrayLike) -> Array:
    """Absolute cosine ``(N,)`` between the lines through each pair of points; 0 where a pair coincides."""
    p, q = _pairs(a), _pairs(b)
    u, v = p[:, 1] - p[:, 0], q[:, 1] - q[:, 0]
    size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    dot = np.abs((u * v).sum(axis=1))
    return np.clip(np.divide(dot, size, out=np.zeros_like(dot), where=size > 0), 0, 1)
