"""What cleaning measures of a mask and the picture below it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

_RING = 0.2
"""Width of the ring around a target, as a share of the side of a square of its area."""
_RING_LEAST = 3


@dataclass(frozen=True)
class MaskMeasures:
    """Measures of one mask, each computed when it is first asked for.

    Attributes
    ----------
    mask:
        bool, ``(rows, cols)``, with at least one pixel.
    image:
        uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
    """

    mask: NDArray[np.bool_]
    image: NDArray[np.uint8]

    @cached_property
    def pixels(self) -> int:
        """Pixels of the mask."""
        return int(np.count_nonzero(self.mask))

    @property
    def share(self) -> float:
        """Of the picture's area, 0 to 1."""
        return self.pixels / self.mask.size

    @cached_property
    def bounds(self) -> tuple[int, int, int, int]:
        """First row, row behind the last, first column, column behind the last."""
        rows, cols = np.flatnonzero(self.mask.any(axis=1)), np.flatnonzero(self.mask.any(axis=0))
        return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1

    @cached_property
    def _cropped(self) -> NDArray[np.uint8]:
        top, bottom, left, right = self.bounds
        return np.ascontiguousarray(self.mask[top:bottom, left:right]).view(np.uint8)

    @cached_property
    def parts(self) -> NDArray[np.int64]:
        """Pixels of the connected parts (8 neighbours), the largest first."""
        _, _, stats, _ = cv2.connectedComponentsWithStats(self._cropped, connectivity=8)
        return np.sort(stats[1:, cv2.CC_STAT_AREA].astype(np.int64))[::-1]

    @property
    def largest(self) -> float:
        """Share of the mask in its largest part."""
        return float(self.parts[0]) / self.pixels

    @cached_property
    def border(self) -> float:
        """Share of the outline's pixels that lie on the picture's border.

        The outline is every pixel of the mask with a neighbour (of 8) outside of the mask or of the picture.
        """
        crop = np.pad(self._cropped, 1)
        inside = cv2.erode(crop, np.ones((3, 3), np.uint8))
        outline = (crop != 0)[1:-1, 1:-1] & (inside == 0)[1:-1, 1:-1]
        on_border = np.zeros_like(outline)
        top, bottom, left, right = self.bounds
        rows, cols = self.mask.shape
        on_border[0] |= top == 0
        on_border[-1] |= bottom == rows
        on_border[:, 0] |= left == 0
        on_border[:, -1] |= right == cols
        return float((outline & on_border).sum() / outline.sum())

    def at(self, longest: int) -> tuple[float, float]:
        """Pixels of the mask, and of its box's shorter side, when the picture's longest side is ``longest`` pixels.

        A picture that is smaller already stays as it is.
        """
        scale = min(1.0, longest / max(self.mask.shape))
        top, bottom, left, right = self.bounds
        return self.pixels * scale * scale, min(bottom - top, right - left) * scale

    @cached_property
    def contrast(self) -> float | None:
        """How well its grey values tell the target from a ring around it, 0 (not at all) to 1; None without a ring.

        The Kolmogorov-Smirnov statistic, the largest difference of the two cumulative distributions: it sees another
        texture as well as another brightness. Of a colour picture the channel with the most counts.
        """
        width = max(_RING_LEAST, round(_RING * self.pixels**0.5))
        top, bottom, left, right = self.bounds
        rows, cols = slice(max(0, top - width), bottom + width), slice(max(0, left - width), right + width)
        mask, image = np.ascontiguousarray(self.mask[rows, cols]), self.image[rows, cols]
        distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 3)
        ring = (distance <= width) & ~mask
        if not ring.any():
            return None
        channels = image[:, :, None] if image.ndim == 2 else image
        return max(
            kolmogorov_smirnov(channels[:, :, n][mask], channels[:, :, n][ring]) for n in range(channels.shape[2])
        )


def kolmogorov_smirnov(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """The largest difference of two samples' cumulative distributions.

    >>> kolmogorov_smirnov(np.array([1, 1, 9, 9], dtype=np.uint8), np.array([1, 9, 9, 9], dtype=np.uint8))
    0.25
    """
    a, b = (np.bincount(v, minlength=256).cumsum() / v.size for v in (first, second))
    return float(np.abs(a - b).max())


def grey_range(image: NDArray[np.uint8]) -> float:
    """Grey levels between the 1st and the 99th percentile of a picture's values, all channels together.

    A percentile is the least level that so many values do not exceed.
    """
    reached = np.bincount(image.ravel(), minlength=256).cumsum()
    low, high = np.searchsorted(reached, (0.01 * image.size, 0.99 * image.size))
    return float(high - low)


def overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one picture, of which at least one is not empty."""
    return float(np.count_nonzero(first & second) / np.count_nonzero(first | second))
