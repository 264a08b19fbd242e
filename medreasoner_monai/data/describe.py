"""What can be measured of an outlined structure: its place, size, shape, brightness, texture, symmetry and neighbours.

Places are those of the picture as it is seen (left is the picture's left). The patient's side is given only where the
picture's origin says what lies on its left.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.measure import regionprops

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.task.keypoints import mask_box

Brightness = Literal["brighter than", "darker than", "as bright as"]
"""A structure against its surroundings, or against the rest of the picture."""
Shape = Literal["round", "elongated", "irregular", "ring-shaped", ""]
"""Empty where none of them is plain."""
Texture = Literal["even", "mottled", ""]
"""Empty where neither is plain."""

_ROWS = ("upper", "middle", "lower")
_COLS = ("left", "centre", "right")
_CLEAR = 12  # gray levels of 255 between a structure and its surroundings
_SIDE = 256  # px; measured on a picture reduced to this longest side
_SHAPE_SIDE = 96  # px; shapes are measured on a mask of at most this size
_PART = 0.05  # share of the largest part's area from which another one counts


@dataclass(frozen=True)
class Neighbour:
    """Another outlined structure, and where it lies as seen from the described one."""

    relation: Literal["above", "below", "left of", "right of", "inside", "around", "overlapping"]
    name: str


@dataclass(frozen=True)
class Description:
    """Measured attributes of one target.

    Attributes
    ----------
    place:
        Ninth of the picture in which the box's middle lies, such as ``upper left``.
    side:
        The patient's side on which the centre of area lies; empty in the middle fifth, or where it is unknown.
    size:
        ``small``, ``medium`` or ``large``, see :func:`size_word`.
    share:
        Share of the picture's area, 0 to 1.
    shape:
        Of the largest part.
    brightness:
        Against a band around it, of 5 % of the picture's shorter side.
    level:
        Against the rest of the picture.
    texture:
        Spread of gray values inside, against that of the whole picture.
    symmetric:
        Whether the mask nearly equals its mirror image about the picture's vertical middle line (Dice above 0.7).
    parts:
        Number of separate parts, those below 5 % of the largest left out.
    neighbours:
        The other targets that lie near, nearest first.
    """

    place: str
    side: Literal["left", "right", ""]
    size: str
    share: float
    shape: Shape
    brightness: Brightness
    level: Brightness
    texture: Texture
    symmetric: bool
    parts: int
    neighbours: tuple[Neighbour, ...] = ()


def describe(picture: LabelledImage, target: Target) -> Description:
    """Measure a target of a picture.

    Raises
    ------
    ValueError
        If the mask is empty.
    """
    mask = target.mask
    rows, cols = mask.shape
    box = mask_box(mask).xyxy
    gray = gray_values(picture.image)
    others = [t for t in picture.targets if t is not target and t.mask.any()]
    small, masks = _reduced(gray, [mask, *(t.mask for t in others)])
    inside = masks[0] if masks[0].any() else _point(masks[0].shape, box, (rows, cols))
    outlines = {f"{n}": m for n, m in enumerate(masks[1:])}
    return Description(
        place=place_words(box, (rows, cols)),
        side=_side(picture.origin.left, mask),
        size=size_word(float(mask.mean())),
        share=float(mask.mean()),
        shape=shape_word(mask),
        brightness=contrast(small, inside, outlines.values()),
        level=_against(small, inside, ~inside),
        texture=_texture(small, inside),
        symmetric=_symmetric(inside),
        parts=count_parts(mask),
        neighbours=tuple(_neighbours(target, others)),
    )


def gray_values(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luminance (ITU-R BT.601) of a picture ``(rows, cols)`` or ``(rows, cols, 3)``; uint8 ``(rows, cols)``."""
    if image.ndim == 2:
        return image
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def place_words(box: tuple[float, float, float, float], shape: tuple[int, int]) -> str:
    """Where a box's middle lies on a 3 x 3 grid, as seen in the picture.

    Parameters
    ----------
    box : tuple of float
        x1, y1, x2, y2 in pixels.
    shape : tuple of int
        (rows, cols) of the image.

    Examples
    --------
    >>> place_words((0, 0, 20, 20), (100, 100))
    'upper left'
    >>> place_words((40, 40, 60, 60), (100, 100))
    'centre'
    """
    col = min(2, int(3 * (box[0] + box[2]) / 2 / shape[1]))
    row = min(2, int(3 * (box[1] + box[3]) / 2 / shape[0]))
    return "centre" if (row, col) == (1, 1) else f"{_ROWS[row]} {_COLS[col]}"


def size_word(fraction: float) -> str:
    """Small, medium or large: below 2 %, below 8 %, or more of the image's area."""
    return "small" if fraction < 0.02 else "medium" if fraction < 0.08 else "large"


def contrast(image: NDArray[np.uint8], mask: NDArray[np.bool_], others: Iterable[NDArray[np.bool_]] = ()) -> Brightness:
    """Compare a structure's mean gray value with that of a band around it.

    A lesion is compared with the organ it lies in, for that is what a reader would do.

    Parameters
    ----------
    image : ndarray
        uint8, ``(rows, cols)``.
    mask : ndarray
        bool, of the same shape, not empty.
    others : iterable of ndarray
        Masks of the other structures; one that holds more than nine tenths of the mask is the organ it lies in.
    """
    width = max(3, round(0.05 * min(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    ring = cv2.dilate(mask.view(np.uint8), kernel).astype(bool) & ~mask
    for organ in others:
        if organ[mask].mean() > 0.9 and (ring & organ).any():
            ring &= organ
    return _against(image, mask, ring)


def _against(image: NDArray[np.uint8], mask: NDArray[np.bool_], rest: NDArray[np.bool_]) -> Brightness:
    if not rest.any():
        return "as bright as"
    difference = float(image[mask].mean()) - float(image[rest].mean())
    if abs(difference) < _CLEAR:
        return "as bright as"
    return "brighter than" if difference > 0 else "darker than"


def shape_word(mask: NDArray[np.bool_]) -> Shape:
    """The plain shape of a mask's largest part.

    Ring-shaped where its holes take more than a fifth of it; irregular where it fills less than three quarters of its
    convex hull; elongated where the minor axis of its ellipse of inertia is below 0.45 of the major one; round where
    that ratio is above 0.7 and it fills more than nine tenths of its hull.
    """
    part = _shrunk(_largest(mask))
    if min(part.shape) < 3:
        return ""
    (found,) = regionprops(part.astype(np.uint8))
    if found.area_filled > 1.25 * found.area:
        return "ring-shaped"
    if found.solidity < 0.75:
        return "irregular"
    ratio = found.axis_minor_length / max(found.axis_major_length, 1e-9)
    if ratio < 0.45:
        return "elongated"
    return "round" if ratio > 0.7 and found.solidity > 0.9 else ""


def count_parts(mask: NDArray[np.bool_]) -> int:
    """Separate parts (8-connected) of at least 5 % of the largest one's area."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(_cropped(mask).astype(np.uint8), connectivity=8)
    areas = stats[1:count, cv2.CC_STAT_AREA]
    return int((areas >= _PART * areas.max()).sum()) if len(areas) else 0


def patient_side(left: str, column: float, width: int) -> Literal["left", "right", ""]:
    """The patient's side at a column of the picture; empty in the middle fifth, or where it is unknown.

    Parameters
    ----------
    left : str
        What lies on the picture's left, as in ``SourceRef.left``.
    column : float
        In pixels from the picture's left edge.
    width : int
        Of the picture, in pixels.

    Examples
    --------
    >>> patient_side("right", 20, 100)
    'right'
    >>> patient_side("right", 50, 100)
    ''
    """
    if left not in ("left", "right") or abs(column / width - 0.5) < 0.1:
        return ""
    on_left = column / width < 0.5
    return "left" if (left == "left") == on_left else "right"


def _side(left: str, mask: NDArray[np.bool_]) -> Literal["left", "right", ""]:
    return patient_side(left, float(np.nonzero(mask)[1].mean()) + 0.5, mask.shape[1])


def _cropped(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    rows, cols = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return mask[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1] if len(rows) else mask


def _largest(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest part (8-connected), cropped to its box."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_cropped(mask).astype(np.uint8), connectivity=8)
    best = 1 + int(np.argmax(stats[1:count, cv2.CC_STAT_AREA]))
    x, y, width, height = (int(v) for v in stats[best, :4])
    return np.asarray(labels[y : y + height, x : x + width] == best)


def _shrunk(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    scale = _SHAPE_SIDE / max(part.shape)
    if scale >= 1:
        return part
    size = (max(1, round(part.shape[1] * scale)), max(1, round(part.shape[0] * scale)))
    small = cv2.resize(part.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5
    return small if small.any() else part


def _reduced(
    gray: NDArray[np.uint8], masks: list[NDArray[np.bool_]]
) -> tuple[NDArray[np.uint8], list[NDArray[np.bool_]]]:
    """Picture and masks at most 256 px long, which is enough for mean values."""
    rows, cols = gray.shape
    scale = _SIDE / max(rows, cols)
    if scale >= 1:
        return gray, masks
    size = (max(1, round(cols * scale)), max(1, round(rows * scale)))
    small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    shrunk = [cv2.resize(m.astype(np.float32), size, interpolation=cv2.INTER_AREA) >= 0.5 for m in masks]
    return small, shrunk


def _point(shape: tuple[int, ...], box: tuple[float, ...], stored: tuple[int, int]) -> NDArray[np.bool_]:
    """One pixel at a box's middle, for a mask that is too thin to survive the reduction."""
    mask = np.zeros(shape, dtype=bool)
    row = int((box[1] + box[3]) / 2 * shape[0] / stored[0])
    col = int((box[0] + box[2]) / 2 * shape[1] / stored[1])
    mask[min(row, shape[0] - 1), min(col, shape[1] - 1)] = True
    return mask


def _texture(image: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Texture:
    whole = float(image.std())
    if whole < 1 or mask.sum() < 20:
        return ""
    inside = float(image[mask].std()) / whole
    return "even" if inside < 0.25 else "mottled" if inside > 0.8 else ""


def _symmetric(mask: NDArray[np.bool_]) -> bool:
    mirrored = mask[:, ::-1]
    return bool(2 * (mask & mirrored).sum() > 0.7 * 2 * mask.sum())


def _neighbours(target: Target, others: list[Target]) -> list[Neighbour]:
    x1, y1, x2, y2 = mask_box(target.mask).xyxy
    area = int(target.mask.sum())
    found: list[tuple[float, Neighbour]] = []
    for other in others:
        a1, b1, a2, b2 = mask_box(other.mask).xyxy
        common = int((target.mask & other.mask).sum())
        if common > 0.9 * area:
            found.append((0.0, Neighbour("around", other.name)))
        elif common > 0.9 * other.mask.sum():
            found.append((0.0, Neighbour("inside", other.name)))
        elif common > 0.1 * area:
            found.append((0.0, Neighbour("overlapping", other.name)))
        else:
            dx, dy = (a1 + a2 - x1 - x2) / 2, (b1 + b2 - y1 - y2) / 2
            gap = max(a1 - x2, x1 - a2, b1 - y2, y1 - b2, 0.0)
            if gap > 0.15 * max(target.mask.shape):
                continue
            across: Literal["left of", "right of"] = "left of" if dx < 0 else "right of"
            along: Literal["above", "below"] = "above" if dy < 0 else "below"
            found.append((gap, Neighbour(across if abs(dx) > abs(dy) else along, other.name)))
    return [neighbour for _, neighbour in sorted(found, key=lambda pair: pair[0])]
