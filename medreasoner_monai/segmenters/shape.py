"""What a box and two points say about a target's shape before the image is looked at, and its best smooth outline.

All coordinates are ``(x, y)`` in pixels of the image, counted as :mod:`medreasoner_monai.task.geometry` counts them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import InputError
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.task.geometry import Box, Frame, Points, convert

Map = NDArray[np.float64]
Point = tuple[float, float]

# The longest tilt that an ellipse in a box may take: at 1 it would be a line along the diagonal.
_MAX_CORRELATION = 0.9


def check_image(image: NDArray[np.generic]) -> Frame:
    """The stored frame of an image, after its type and shape were checked.

    Raises
    ------
    InputError
        If the image is not uint8, or not ``(rows, cols)`` or ``(rows, cols, 3)``, or has no pixel.
    """
    shape_ok = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 3)
    if image.dtype != np.uint8 or not shape_ok or image.size == 0:
        raise InputError(
            "a segmenter takes a uint8 image, (rows, cols) grey or (rows, cols, 3) RGB, with at least one pixel; "
            f"got {image.dtype} of shape {image.shape}. Convert it first."
        )
    return Frame(image.shape[1], image.shape[0])


def locate(prompt: Prompt, frame: Frame) -> tuple[tuple[float, float, float, float] | None, list[Point]]:
    """A prompt as plain coordinates in the image's frame: the box ``(x1, y1, x2, y2)`` or None, and the usable points.

    The box is clipped to the picture, is at least one pixel each way, and None if it misses the picture. Points outside
    the picture, or outside the box where one is given, say nothing about the target and are left out.
    """
    own = prompt.frame
    box: tuple[float, float, float, float] | None = None
    if prompt.box is not None:
        # Clipped before conversion: coordinates may be too large to multiply. The sliver keeps it a valid box.
        x1, x2 = np.clip([prompt.box.x1, prompt.box.x2], 0, own.width)
        y1, y2 = np.clip([prompt.box.y1, prompt.box.y2], 0, own.height)
        if x2 <= x1 or y2 <= y1:
            return None, []
        moved = convert(Box(float(x1), float(y1), max(float(x2), x1 + 1e-3), max(float(y2), y1 + 1e-3), own), frame)
        wide = [max(0.0, 1 - (hi - lo)) / 2 for lo, hi in ((moved.x1, moved.x2), (moved.y1, moved.y2))]
        box = (moved.x1 - wide[0], moved.y1 - wide[1], moved.x2 + wide[0], moved.y2 + wide[1])
    points: list[Point] = []
    if prompt.points is not None:
        inside = [p for p in prompt.points.xy if 0 <= p[0] <= own.width and 0 <= p[1] <= own.height]
        if inside:
            points = list(convert(Points(inside[0], inside[-1], own), frame).xy)[: len(inside)]
        if box is not None:
            points = [p for p in points if box[0] <= p[0] <= box[2] and box[1] <= p[1] <= box[3]]
    return box, points


@dataclass(frozen=True, slots=True)
class Ellipse:
    """An ellipse by its centre and the matrix ``[[xx, xy], [xy, yy]]`` whose inverse measures its radius.

    ``sqrt(xx)`` and ``sqrt(yy)`` are the half width and half height of its bounding box.
    """

    x: float
    y: float
    xx: float
    xy: float
    yy: float

    @classmethod
    def in_box(cls, box: Sequence[float], points: Sequence[Point] = (), stretch: float = 1.0) -> Ellipse:
        """The ellipse that touches all four sides of a box ``(x1, y1, x2, y2)``, upright or tilted by two points.

        ``stretch`` times the distance of the points is read as the long half-axis, and their line as its direction.
        Together with the box's sides this fixes the tilt; points closer than a long half-axis of an ellipse in this
        box can be tell nothing, and it stays upright.
        """
        a, b = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
        tilt = 0.0
        if len(points) == 2:
            dx, dy = points[1][0] - points[0][0], points[1][1] - points[0][1]
            length2 = dx * dx + dy * dy
            if length2 > 0:
                # The squares of the half-axes add up to a^2 + b^2.
                tilt = dx * dy / length2 * max(0.0, 2 * stretch**2 * length2 - a * a - b * b)
        limit = _MAX_CORRELATION * a * b
        return cls(box[0] + a, box[1] + b, a * a, min(max(tilt, -limit), limit), b * b)

    @classmethod
    def on_points(cls, points: Sequence[Point], stretch: float, aspect: float, lone_radius: float) -> Ellipse:
        """The ellipse along two points, or the circle of ``lone_radius`` about one (or about two that coincide).

        Parameters
        ----------
        points:
            One or two ``(x, y)``.
        stretch:
            Long half-axis over the distance of the points.
        aspect:
            Short axis over long axis.
        lone_radius:
            In pixels.
        """
        (px, py), (qx, qy) = points[0], points[-1]
        dx, dy = qx - px, qy - py
        length = float(np.hypot(dx, dy))
        if length < 1:
            return cls((px + qx) / 2, (py + qy) / 2, lone_radius**2, 0.0, lone_radius**2)
        ux, uy, long2 = dx / length, dy / length, (stretch * length) ** 2
        short2 = long2 * aspect**2
        return cls(
            (px + qx) / 2,
            (py + qy) / 2,
            long2 * ux * ux + short2 * uy * uy,
            (long2 - short2) * ux * uy,
            long2 * uy * uy + short2 * ux * ux,
        )

    @property
    def half_width(self) -> float:
        """Of its bounding box."""
        return float(np.sqrt(self.xx))

    @property
    def half_height(self) -> float:
        """Of its bounding box."""
        return float(np.sqrt(self.yy))

    @property
    def mean_radius(self) -> float:
        """Geometric mean of the half-axes."""
        return float((self.xx * self.yy - self.xy**2) ** 0.25)

    @property
    def root(self) -> Map:
        """``(2, 2)`` lower triangular; takes the unit circle to the ellipse about the origin."""
        low = self.xy / self.half_width
        return np.array([[self.half_width, 0.0], [low, np.sqrt(self.yy - low * low)]])

    def unit(self, x: Map, y: Map) -> tuple[Map, Map]:
        """Image coordinates to those in which the ellipse is the unit circle about the origin."""
        (a, _), (low, c) = self.root
        u = (x - self.x) / a
        return u, (y - self.y - low * u) / c

    def radius(self, x: Map, y: Map) -> Map:
        """0 in the centre, 1 on the ellipse, above 1 outside."""
        return np.asarray(np.hypot(*self.unit(x, y)))


@dataclass(frozen=True, slots=True)
class OutlineSearch:
    """How the outline is searched: on ``angles`` rays, each cut into ``radii`` steps up to ``reach`` ellipse radii."""

    angles: int = 64
    radii: int = 48
    reach: float = 1.6
    jump: int = 3
    stiffness: float = 0.1
    edge: float = 0.4


def outline(
    ellipse: Ellipse,
    x: Map,
    y: Map,
    log_odds: Map,
    channels: Sequence[NDArray[np.float32]],
    search: OutlineSearch,
) -> Map:
    """The best star-shaped outline about the ellipse's centre, as a radius map: below 1 inside it, above 1 outside.

    The outline crosses every ray from the centre once. Among all of these the one is taken, by dynamic programming
    around the circle, that gathers most log-odds inside, runs along strong edges and bends least.

    Parameters
    ----------
    ellipse:
        The outline is searched in the coordinates in which this is a circle.
    x, y:
        Image coordinates of the pixel centres, ``(rows, cols)``, evenly spaced.
    log_odds:
        Of a pixel being target, ``(rows, cols)``.
    channels:
        Smoothed intensities in which edges are looked for, each ``(rows, cols)``.
    """
    step = search.reach / search.radii
    radii = (np.arange(search.radii) + 0.5) * step
    angles = np.arange(search.angles) * (2 * np.pi / search.angles)
    rays = ellipse.root @ np.stack([np.cos(angles), np.sin(angles)])
    dx, dy = x[0, 1] - x[0, 0], y[1, 0] - y[0, 0]
    cols = ((ellipse.x - x[0, 0] + rays[0][:, None] * radii) / dx).astype(np.float32)
    rows = ((ellipse.y - y[0, 0] + rays[1][:, None] * radii) / dy).astype(np.float32)

    # Beyond the crop is surely not target.
    odds = cv2.remap(
        log_odds.astype(np.float32), cols, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=-8
    )
    gain = np.cumsum(odds * radii * step, axis=1)
    power = np.zeros_like(gain)
    for channel in channels:
        ray = cv2.remap(channel, cols, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        # The mean of the two samples beyond a step against the mean of its own and the one before it.
        power[:, 1:-2] += ((ray[:, 2:-1] + ray[:, 3:] - ray[:, :-3] - ray[:, 1:-2]) / 2) ** 2
    edges = np.sqrt(power)
    gain += search.edge * np.minimum(edges / (np.percentile(edges, 95) + 1e-6), 1.5)

    ends = radii[_best_loop(gain, search.jump, search.stiffness)] + step / 2
    u, v = ellipse.unit(x, y)
    at = np.interp(np.arctan2(v, u) % (2 * np.pi), np.append(angles, 2 * np.pi), np.append(ends, ends[0]))
    return np.asarray(np.hypot(u, v) / at)


def _best_loop(gain: Map, jump: int, stiffness: float) -> NDArray[np.intp]:
    """The column ``(n,)`` to take in each row of ``gain (n, m)``, most gain in all, neighbours ``jump`` apart at most.

    Runs twice around the circle and reads the middle, so that the ends meet.
    """
    n, m = gain.shape
    shifts = np.arange(-jump, jump + 1)
    penalty = stiffness * (shifts / jump) ** 2
    laps = np.concatenate([gain, gain])
    came_from = np.zeros(laps.shape, dtype=np.intp)
    columns = np.arange(m)
    # Row j of the windows onto the padded value is what column j can be reached from.
    padded = np.full(m + 2 * jump, -np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * jump + 1)
    value = laps[0]
    for i in range(1, 2 * n):
        padded[jump:-jump] = value
        options = windows - penalty
        best = options.argmax(axis=1)
        came_from[i] = columns + shifts[best]
        value = options[columns, best] + laps[i]
    path = np.empty(2 * n, dtype=np.intp)
    path[-1] = int(value.argmax())
    for i in range(2 * n - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    half = n // 2
    return np.concatenate([path[n : n + half], path[half:n]])
