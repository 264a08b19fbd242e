"""What the fusion network sees of a prompt: its surroundings, resampled to a square, with what two engines say of them.

Coordinates are ``(x, y)`` in pixels of the image, counted from its upper left corner; a pixel's centre is at a half.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.segmenters.classical import Evidence
from medreasoner_monai.segmenters.shape import Point
from medreasoner_monai.task.geometry import Frame

Plane = NDArray[np.float32]

SIDE = 64
"""Rows and columns of the square."""
PLANES = (
    "grey, standardised",
    "green to red",
    "blue to yellow",
    "grey",
    "learned logit",
    "classical log-odds",
    "depth in the box",
    "radius in the box",
    "nearness of a point",
    "nearness of the line between the points",
    "points given",
    "inside the picture",
    "aspect of the box",
    "size of the box",
    "pixels per cell",
    "expected overlap",
)
"""What the planes hold, in order."""
LEARNED, CLASSICAL = PLANES.index("learned logit"), PLANES.index("classical log-odds")
LEARNED_SCALE, CLASSICAL_SCALE = 5.0, 4.0
"""Logits per unit of the two planes."""

# Share of the box's side seen beyond it on each side; of its other side, and in pixels, at least.
_MARGIN, _OTHER_MARGIN, _LEAST_MARGIN = 0.25, 0.08, 2.0


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the image that is seen, ``(x1, y1)`` to ``(x2, y2)``; it may reach beyond the picture."""

    x1: float
    y1: float
    x2: float
    y2: float

    @classmethod
    def about(cls, box: Sequence[float]) -> Window:
        """A box ``(x1, y1, x2, y2)`` with a margin on each side."""
        w, h = box[2] - box[0], box[3] - box[1]
        dx = max(_MARGIN * w, _OTHER_MARGIN * h, _LEAST_MARGIN)
        dy = max(_MARGIN * h, _OTHER_MARGIN * w, _LEAST_MARGIN)
        return cls(box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy)

    @property
    def area(self) -> tuple[float, float, float, float]:
        """``(x1, y1, x2, y2)``."""
        return self.x1, self.y1, self.x2, self.y2

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell of the square, in pixels."""
        return (self.x2 - self.x1) / SIDE, (self.y2 - self.y1) / SIDE

    def centres(self) -> tuple[Plane, Plane]:
        """Horizontal and vertical places of the cells' centres, each ``(SIDE, SIDE)``."""
        steps = (np.arange(SIDE, dtype=np.float32) + 0.5) / SIDE
        x, y = np.meshgrid(self.x1 + steps * (self.x2 - self.x1), self.y1 + steps * (self.y2 - self.y1))
        return x.astype(np.float32), y.astype(np.float32)


def sample(values: NDArray[np.float32], window: Window, area: Sequence[float], beyond: float | None = None) -> Plane:
    """Values resampled to the square; smoothed first where it is coarser than they are.

    Parameters
    ----------
    values:
        ``(h, w)`` or ``(h, w, channels)``, evenly spaced over ``area``.
    window:
        What the square covers.
    area:
        ``(x1, y1, x2, y2)`` in pixels of the image.
    beyond:
        What lies outside of ``area``; None repeats the values at its edge.
    """
    h, w = values.shape[:2]
    sx, sy = w / (area[2] - area[0]), h / (area[3] - area[1])
    fx, fy = window.cell[0] * sx, window.cell[1] * sy
    # Only what the square shows is smoothed: a small box in a large picture costs little.
    x1, x2 = (window.x1 - area[0]) * sx, (window.x2 - area[0]) * sx
    y1, y2 = (window.y1 - area[1]) * sy, (window.y2 - area[1]) * sy
    left, top = min(max(int(x1 - 2 * fx), 0), w - 1), min(max(int(y1 - 2 * fy), 0), h - 1)
    right, bottom = min(max(int(x2 + 2 * fx) + 2, left + 1), w), min(max(int(y2 + 2 * fy) + 2, top + 1), h)
    part = np.ascontiguousarray(values[top:bottom, left:right])
    if max(fx, fy) > 1:
        sigma = (max(0.45 * fx - 0.25, 1e-3), max(0.45 * fy - 0.25, 1e-3))
        smooth = cv2.GaussianBlur(part, (0, 0), sigmaX=sigma[0], sigmaY=sigma[1], borderType=cv2.BORDER_REPLICATE)
        part = np.asarray(smooth, dtype=np.float32)
    to_source = np.array([[fx, 0, x1 - left + fx / 2 - 0.5], [0, fy, y1 - top + fy / 2 - 0.5]])
    return _warped(part, to_source, (SIDE, SIDE), beyond)


def resampled(
    values: NDArray[np.float32],
    area: Sequence[float],
    part: tuple[int, int, int, int],
    beyond: float | None = None,
) -> NDArray[np.float32]:
    """Values at the pixels of a part of the image, bilinear.

    Parameters
    ----------
    values:
        ``(h, w)``, evenly spaced over ``area``, no finer than pixels.
    area, part:
        ``(x1, y1, x2, y2)`` in pixels of the image, those of ``part`` whole.
    beyond:
        What lies outside of ``area``; None repeats the values at its edge.
    """
    h, w = values.shape
    sx, sy = w / (area[2] - area[0]), h / (area[3] - area[1])
    to_source = np.array([[sx, 0, (part[0] + 0.5 - area[0]) * sx - 0.5], [0, sy, (part[1] + 0.5 - area[1]) * sy - 0.5]])
    size = (part[2] - part[0], part[3] - part[1])
    return _warped(np.ascontiguousarray(values), to_source, size, beyond)


def _warped(
    values: NDArray[np.float32], to_source: NDArray[np.float64], size: tuple[int, int], beyond: float | None
) -> NDArray[np.float32]:
    """Values ``(h, w)`` or ``(h, w, channels)`` at other places, bilinear, ``size`` (width, height) of them."""
    found = cv2.warpAffine(
        values,
        to_source,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if beyond is None else cv2.BORDER_CONSTANT,
        borderValue=(0.0 if beyond is None else beyond,) * 4,
    )
    return np.asarray(found, dtype=np.float32)


def planes(
    picture: NDArray[np.float32],
    window: Window,
    box: Sequence[float],
    points: Sequence[Point],
    learned: NDArray[np.float32],
    overlap: float,
    seen: Sequence[float],
    classical: Evidence,
) -> Plane:
    """What the network takes, ``(len(PLANES), SIDE, SIDE)``.

    Parameters
    ----------
    picture:
        As :func:`lab` gives it, ``(rows, cols, 3)``.
    box:
        ``(x1, y1, x2, y2)``.
    points:
        Those of the prompt, none to two.
    learned, overlap, seen:
        Logits ``(h, w)``, the IoU expected of them, and the area they cover.
    classical:
        Of the same prompt.
    """
    frame = Frame(picture.shape[1], picture.shape[0])
    whole = (0.0, 0.0, float(frame.width), float(frame.height))
    x, y = window.centres()
    colour = sample(picture, window, whole)
    hw, hh = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    u, v = (x - box[0]) / hw - 1, (y - box[1]) / hh - 1
    depth = np.minimum(1 - np.abs(u), 1 - np.abs(v))
    valid = ((x > 0) & (y > 0) & (x < frame.width) & (y < frame.height)).astype(np.float32)
    marked = (depth > 0) & (valid > 0)
    grey = colour[..., 0]
    typical = grey[marked] if marked.any() else grey
    spread = max(float(grey[valid > 0].std()) if valid.any() else 0.0, 0.02)
    near = np.zeros_like(grey)
    line = np.zeros_like(grey)
    if points:
        places = [((px - box[0]) / hw - 1, (py - box[1]) / hh - 1) for px, py in points]
        for pu, pv in places:
            near = np.maximum(near, np.exp(-((u - pu) ** 2 + (v - pv) ** 2) / (2 * 0.15**2)))
        line = np.exp(-_to_line(u, v, places[0], places[-1]) / 0.3)
    ones = np.ones_like(grey)
    size = float(np.sqrt(4 * hw * hh / (frame.width * frame.height)))
    cell = float(np.log2(max(window.cell[0] * window.cell[1], 1e-6)) / 2)
    odds = sample(np.maximum(classical.odds, -8), window, classical.rect, -8.0)
    stack = (
        np.clip((grey - typical.mean()) / spread / 2, -2, 2),
        colour[..., 1],
        colour[..., 2],
        grey,
        np.clip(sample(learned, window, seen) / LEARNED_SCALE, -2, 2),
        np.clip(odds / CLASSICAL_SCALE, -1.5, 1.5),
        depth,
        np.minimum(np.hypot(u, v), 2),
        near,
        line,
        ones * (len(points) / 2),
        valid,
        ones * float(np.clip(np.log(hw / hh), -2, 2)),
        ones * size,
        ones * (cell / 2),
        ones * overlap,
    )
    return np.stack(stack).astype(np.float32)


def lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """An image as lightness and two colour differences, ``(rows, cols, 3)``, about [0, 1] and [-1, 1]."""
    scaled = image.astype(np.float32) / 255
    if scaled.ndim == 2:
        return np.stack([scaled, np.zeros_like(scaled), np.zeros_like(scaled)], axis=-1)
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB) / 100, dtype=np.float32)


def _to_line(u: Plane, v: Plane, a: Point, b: Point) -> Plane:
    """Distance of each cell from the line between two places, in half sides of the box."""
    du, dv = b[0] - a[0], b[1] - a[1]
    length2 = du * du + dv * dv
    t = np.clip(((u - a[0]) * du + (v - a[1]) * dv) / length2, 0, 1) if length2 > 0 else np.zeros_like(u)
    return np.hypot(u - a[0] - t * du, v - a[1] - t * dv)
