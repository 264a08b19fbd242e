"""Reasoning traces: what is visible at the target in this very picture, then its name.

The vocabulary is closed and small on purpose: a model of a few million parameters learns to write it in minutes.
"""

from __future__ import annotations

import cv2
import numpy as np

from medreasoner_monai.data.phantoms import Phantom

_ROWS = ("upper", "middle", "lower")
_COLS = ("left", "centre", "right")
_PATTERNS = (
    "The {view} shows a {size} area in the {place}. It is {brightness} its surroundings. This fits the {name}.",
    "In the {place} of the {view} lies a {size} area, {brightness} its surroundings. This is the {name}.",
    "Look at the {place} of the {view}. A {size} area there is {brightness} its surroundings. It is the {name}.",
)


_ABSENT = (
    "The {view} shows the {site}. No area fits the {name}.",
    "In this {view} the {site} is shown. No area fits the {name}.",
    "Look over the {view} of the {site}. No area fits the {name}.",
)
"""Each begins as one of the patterns above does and leaves it at one word: whether there is a target is then decided by
one next word, yes or no. A beginning of its own would be as likely as a third of those with a target, and a greedy
answer would find nothing at a probability of one in four."""


def write_absent_trace(phantom: Phantom, category: str, rng: np.random.Generator) -> str:
    """Say what the picture shows, and that the target is not in it: two short sentences, the name last.

    Parameters
    ----------
    phantom : Phantom
        The picture.
    category : str
        What is asked for.
    rng : numpy.random.Generator
        Chooses the sentence pattern.
    """
    pattern = _ABSENT[int(rng.integers(len(_ABSENT)))]
    return pattern.format(view=phantom.view.split(",")[0], site=phantom.site, name=category)


def write_trace(
    phantom: Phantom, category: str, rng: np.random.Generator, box: tuple[float, float, float, float]
) -> str:
    """Describe a target and name it, in two or three short sentences of 12 to 28 words in all.

    Parameters
    ----------
    phantom : Phantom
        The picture; size and brightness are measured in it.
    category : str
        The target, a key of ``phantom.masks``.
    rng : numpy.random.Generator
        Chooses the sentence pattern.
    box : tuple of float
        x1, y1, x2, y2 of the target in image pixels.
    """
    mask = phantom.masks[category]
    return _PATTERNS[int(rng.integers(len(_PATTERNS)))].format(
        view=phantom.view.split(",")[0],
        size=size_word(float(mask.mean())),
        place=place_words(box, (mask.shape[0], mask.shape[1])),
        brightness=brightness_words(phantom, category),
        name=category,
    )


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
