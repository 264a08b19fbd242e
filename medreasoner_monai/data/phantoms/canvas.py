"""What the phantom drawers share: the phantom type, the field of view and a canvas with exact masks.

Structures are drawn in a body frame whose unit is about half the body's width; a :class:`View` turns it into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.phantoms.imaging import Field
from medreasoner_monai.data.phantoms.shapes import Outline, rotation

Mask = NDArray[np.bool_]

MIN_AREA_FRACTION = 0.0025
MIN_SIDE_FRACTION = 6 / 112  # six pixels once the image is 112 px wide
MIN_VISIBLE_FRACTION = 0.4  # of the structure as drawn; less is a sliver at the edge or behind another organ
_STRAY_FRACTION = 0.04
_SHIFT = 4  # fractional bits of polygon corners handed to OpenCV


@dataclass(frozen=True)
class Phantom:
    """A synthetic image and the exact masks of what it shows.

    Attributes
    ----------
    image : numpy.ndarray
        uint8, shape (rows, cols), display window already applied.
    masks : dict of str to numpy.ndarray
        Category to bool, shape (rows, cols): the visible part. Organs exclude each other; a lesion is part of its
        organ.
    modality : str
        ``"CT"``, ``"X-Ray"`` or ``"MRI"``.
    site : str
        ``"abdomen"``, ``"chest"`` or ``"brain"``, as in U-MRG's file names.
    view : str
        What kind of picture it is, in words.
    shown : frozenset of str
        Every category of which anything is to be seen, too little to be asked about included. What is in neither
        ``shown`` nor ``masks`` is not in the picture.
    """

    image: NDArray[np.uint8]
    masks: dict[str, Mask]
    modality: str
    site: str
    view: str
    shown: frozenset[str] = frozenset()

    def shows(self, category: str) -> bool:
        """Whether any of a category is in the picture."""
        return category in self.shown or category in self.masks


@dataclass(frozen=True)
class View:
    """The field of view: how the body frame lands on the pixels.

    Attributes
    ----------
    rows, cols : int
        Image size in pixels.
    matrix : numpy.ndarray
        float, shape (2, 3): body (x, y, 1) to pixel (column, row).
    """

    rows: int
    cols: int
    matrix: NDArray[np.float64]

    @property
    def scale(self) -> float:
        """Pixels per body unit."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix[:, :2]))))

    def pixels(self, outline: Outline) -> Outline:
        """Map body (x, y), shape (points, 2), to pixel (column, row)."""
        return outline @ self.matrix[:, :2].T + self.matrix[:, 2]

    def bodies(self) -> tuple[Field, Field]:
        """Body x and y of every pixel, each of shape (rows, cols)."""
        inverse = np.linalg.inv(self.matrix[:, :2])
        cols = np.arange(self.cols, dtype=np.float32)[None, :] - np.float32(self.matrix[0, 2])
        rows = np.arange(self.rows, dtype=np.float32)[:, None] - np.float32(self.matrix[1, 2])
        i = inverse.astype(np.float32)
        return i[0, 0] * cols + i[0, 1] * rows, i[1, 0] * cols + i[1, 1] * rows


def random_view(
    rng: np.random.Generator,
    half_width: tuple[float, float],
    shift: float,
    max_rotation: float = 12.0,
    max_stretch: float = 0.08,
    centre: tuple[float, float] = (0.0, 0.0),
) -> View:
    """Draw a field of view.

    Parameters
    ----------
    rng : numpy.random.Generator
    half_width : tuple of float
        Smallest and largest length of one body unit, as a fraction of the image's shorter side.
    shift : float
        Largest offset of ``centre`` from the image centre, as a fraction of rows and of cols.
    max_rotation : float
        Degrees, either way.
    max_stretch : float
        Largest anisotropic stretch, either way.
    centre : tuple of float
        The body point that is looked at.
    """
    long = int(rng.integers(176, 257))
    short = max(160, int(long * rng.uniform(0.8, 1.0)))
    rows, cols = (long, short) if rng.random() < 0.5 else (short, long)
    scale = rng.uniform(*half_width) * min(rows, cols)
    turn = rotation(rng.uniform(-max_rotation, max_rotation))
    stretch = 1 + rng.uniform(-max_stretch, max_stretch)
    linear = scale * turn @ np.diag([stretch, 1 / stretch])
    at = np.array([cols, rows]) * (0.5 + rng.uniform(-shift, shift, 2))
    return View(rows, cols, np.column_stack([linear, at - linear @ np.array(centre)]))


class Canvas:
    """An image that remembers which structure owns each pixel.

    Parameters
    ----------
    view : View
        Field of view.
    background : float
        Value of the empty image.
    """

    def __init__(self, view: View, background: float) -> None:
        self.view = view
        self.image: Field = np.full((view.rows, view.cols), background, dtype=np.float32)
        self._owner = np.zeros((view.rows, view.cols), dtype=np.uint8)  # 0: nothing that may be asked about
        self._names: list[str] = []
        self._lesions: dict[str, Mask] = {}
        self._drawn_area: dict[str, float] = {}  # whole outline in pixels, outside of the image too

    def corners(self, outline: Outline) -> NDArray[np.int32]:
        """Fixed-point pixel corners of an outline, the way OpenCV takes them."""
        return np.round(self.view.pixels(outline) * (1 << _SHIFT)).astype(np.int32)

    def region(self, outline: Outline) -> Mask:
        """Pixels inside an outline: bool, shape (rows, cols)."""
        inside = np.zeros(self.image.shape, dtype=np.uint8)
        cv2.fillPoly(inside, [self.corners(outline)], (1,), shift=_SHIFT)
        return inside.astype(bool)

    def fill(self, outline: Outline, value: float, name: str | None = None, within: Mask | None = None) -> Mask:
        """Paint an outline over whatever was there; what it covers no longer belongs to the masks below.

        Returns
        -------
        numpy.ndarray
            The painted pixels, bool, shape (rows, cols).
        """
        region, window = self.region(outline), self._window(outline)
        inside = region[window]
        if within is not None:
            inside &= within[window]
        np.copyto(self.image[window], np.float32(value), where=inside)
        np.copyto(self._owner[window], np.uint8(self._number(name)), where=inside)
        if name is not None:
            area = cv2.contourArea(self.view.pixels(outline).astype(np.float32))
            self._drawn_area[name] = max(area, self._drawn_area.get(name, 0.0))
        return region

    def claim(self, region: Mask, name: str | None) -> None:
        """Give pixels to a structure, or to none, without painting them."""
        self._owner[region] = self._number(name)

    def _number(self, name: str | None) -> int:
        if name is None:
            return 0
        if name not in self._names:
            self._names.append(name)
        return self._names.index(name) + 1

    def _window(self, outline: Outline) -> tuple[slice, slice]:
        """The part of the image that an outline may touch: most are small, and whole-image steps would be slow."""
        pixels = self.view.pixels(outline)
        (left, top), (right, bottom) = (
            np.maximum(pixels.min(0) - 1, 0).astype(int),
            np.ceil(pixels.max(0) + 2).astype(int),
        )
        return slice(top, max(top, bottom)), slice(left, max(left, right))

    def owned(self, name: str) -> Mask:
        """Pixels that belong to an organ now: bool, shape (rows, cols)."""
        if name not in self._names:
            return np.zeros(self.image.shape, dtype=bool)
        return np.equal(self._owner, self._number(name))

    @property
    def findings(self) -> set[str]:
        """Names drawn so far, organs and lesions."""
        return set(self._names) | set(self._lesions)

    def mark_lesion(self, region: Mask, name: str) -> None:
        """Record a lesion that is part of its organ: the organ keeps the pixels."""
        self._lesions[name] = self._lesions.get(name, False) | region

    def stroke(self, path: Outline, value: float, width: float, layer: Field | None = None) -> None:
        """Draw an open line that belongs to no structure.

        Parameters
        ----------
        path : numpy.ndarray
            Body (x, y), shape (points, 2).
        value : float
            Value of the line's pixels.
        width : float
            Body units; at least one pixel is drawn.
        layer : numpy.ndarray, optional
            What to draw on instead of the image: float32, shape (rows, cols).
        """
        thickness = max(1, round(width * self.view.scale))
        target = self.image if layer is None else layer
        cv2.polylines(target, [self.corners(path)], False, (value,), thickness, cv2.LINE_8, _SHIFT)

    def visible(self) -> frozenset[str]:
        """The structures of which at least one pixel is in the image."""
        lesions = {name for name, mask in self._lesions.items() if mask.any()}
        return frozenset(lesions | {name for name in self._names if self.owned(name).any()})

    def masks(self) -> dict[str, Mask]:
        """The structures worth asking about: large enough and mostly visible, stray fragments removed."""
        found: dict[str, Mask] = {}
        candidates = {name: self.owned(name) for name in self._names} | self._lesions
        for name, mask in candidates.items():
            kept = _without_strays(mask)
            if _is_sensible(kept) and kept.sum() >= MIN_VISIBLE_FRACTION * self._drawn_area.get(name, 0.0):
                found[name] = kept
        return found


def _without_strays(mask: Mask) -> Mask:
    """Drop fragments that are tiny beside the whole: they would stretch the box without being seen."""
    cols, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    if len(rows) == 0:
        return mask
    window = slice(rows[0], rows[-1] + 1), slice(cols[0], cols[-1] + 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask[window].astype(np.uint8), connectivity=8)
    if count <= 2:
        return mask
    areas = stats[1:, cv2.CC_STAT_AREA]
    keep = np.concatenate([[False], areas >= _STRAY_FRACTION * areas.sum()])
    kept = np.zeros_like(mask)
    kept[window] = keep[labels]
    return kept


def _is_sensible(mask: Mask) -> bool:
    rows, cols = mask.shape
    if mask.sum() < MIN_AREA_FRACTION * mask.size:
        return False
    height, width = np.ptp(np.flatnonzero(mask.any(1))) + 1, np.ptp(np.flatnonzero(mask.any(0))) + 1
    return bool(width >= MIN_SIDE_FRACTION * cols and height >= MIN_SIDE_FRACTION * rows)
