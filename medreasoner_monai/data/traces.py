"""Reasoning traces: what is visible at the target in this very picture, then its name.

The vocabulary is closed and small on purpose: a model of a few million parameters learns to write it in minutes.
"""

from __future__ import annotations

import cv2
import numpy as np

from medreasoner_monai.data.phantoms import Phantom

_ROWS = ("upper", "middle", "lower")
_COLS = ("left", "centre", "right")
_TASKS = (
    "Sought in the {view} is the {name}.",
    "The {view} is searched for the {name}.",
    "In the {view} the {name} is asked for.",
)
"""Kind of picture and target first: what follows is decided by a look at both, and not before they are known."""
_FOUND = "A {size} {brightness} area in the {place} fits the {name}."
_BRIGHTNESS = {"brighter than": "bright", "darker than": "dark", "as bright as": "faint"}
_ABSENT = "No area of the {site} fits the {name}."
"""One word, A or No, decides whether there is a target. If either had several beginnings, a greedy answer would favour
the other: of two beginnings, each is half as likely as their sum."""


def write_absent_trace(phantom: Phantom, category: str, rng: np.random.Generator) -> str:
    """Say what is sought, and that it is not in the picture: two short sentences, the name last.

    Parameters
    ----------
    phantom : Phantom
        The picture.
    category : str
        What is asked for.
    rng : numpy.random.Generator
        Chooses the first sentence.
    """
    return f"{_task(phantom, category, rng)} {_ABSENT.format(site=phantom.site, name=category)}"


def write_trace(
    phantom: Phantom, category: str, rng: np.random.Generator, box: tuple[float, float, float, float]
) -> str:
    """Say what is sought, then describe the target and name it: two sentences of 12 to 28 words in all.

    Parameters
    ----------
    phantom : Phantom
        The picture; size and brightness are measured in it.
    category : str
        The target, a key of ``phantom.masks``.
    rng : numpy.random.Generator
        Chooses the first sentence.
    box : tuple of float
        x1, y1, x2, y2 of the target in image pixels.
    """
    mask = phantom.masks[category]
    found = _FOUND.format(
        size=size_word(float(mask.mean())),
        place=place_words(box, (mask.shape[0], mask.shape[1])),
        brightness=_BRIGHTNESS[brightness_words(phantom, category)],
        name=category,
    )
    return f"{_task(phantom, category, rng)} {found}"


def _task(phantom: Phantom, category: str, rng: np.random.Generator) -> str:
    return _TASKS[int(rng.integers(len(_TASKS)))].format(view=phantom.view.split(",")[0], name=category)


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


def brightness_words(phantom: Phantom, category: str) -> str:
    """Compare a target's mean grey value with that of a ring around it.

    A lesion is compared with the organ it lies in, for that is what a reader would do.
    """
    image, mask = phantom.image, phantom.masks[category]
    width = max(3, round(0.05 * min(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width + 1, 2 * width + 1))
    ring = cv2.dilate(mask.view(np.uint8), kernel).astype(bool) & ~mask
    for name, organ in phantom.masks.items():
        if name != category and organ[mask].mean() > 0.9 and (ring & organ).any():
            ring &= organ
    if not ring.any():
        return "as bright as"
    difference = float(image[mask].mean()) - float(image[ring].mean())
    if abs(difference) < 12:
        return "as bright as"
    return "brighter than" if difference > 0 else "darker than"
