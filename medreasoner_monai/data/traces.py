"""Reasoning traces: what is visible at the target in this very picture, then its name.

The vocabulary is closed and small on purpose: a model of a few million parameters learns to write it in minutes.
"""

from __future__ import annotations

import numpy as np

from medreasoner_monai.data.describe import Brightness, contrast, place_words, size_word
from medreasoner_monai.data.phantoms import Phantom

TASKS = (
    "Sought in the {view} is the {name}.",
    "The {view} is searched for the {name}.",
    "In the {view} the {name} is asked for.",
)
"""Kind of picture and target first: what follows is decided by a look at both, and not before they are known."""
FOUND = "A {size} {brightness} area in the {place} fits the {name}."
BRIGHTNESS: dict[Brightness, str] = {"brighter than": "bright", "darker than": "dark", "as bright as": "faint"}
ABSENT = "No area of the {site} fits the {name}."
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
    return f"{_task(phantom, category, rng)} {ABSENT.format(site=phantom.site, name=category)}"


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
    found = FOUND.format(
        size=size_word(float(mask.mean())),
        place=place_words(box, (mask.shape[0], mask.shape[1])),
        brightness=BRIGHTNESS[brightness_words(phantom, category)],
        name=category,
    )
    return f"{_task(phantom, category, rng)} {found}"


def _task(phantom: Phantom, category: str, rng: np.random.Generator) -> str:
    return TASKS[int(rng.integers(len(TASKS)))].format(view=phantom.view.split(",")[0], name=category)


def brightness_words(phantom: Phantom, category: str) -> Brightness:
    """Compare a target's mean grey value with that of a ring around it.

    A lesion is compared with the organ it lies in, for that is what a reader would do.
    """
    others = [organ for name, organ in phantom.masks.items() if name != category]
    return contrast(phantom.image, phantom.masks[category], others)
