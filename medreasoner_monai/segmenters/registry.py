"""Segmenters by name, as a config or the command line gives it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.segmenters.protocol import Segmenter

DEFAULT = "classical"

# Name to "module:callable", imported on first use so that one engine's libraries are not needed for another.
ENGINES = {
    "classical": "medreasoner_monai.segmenters.classical:ClassicalSegmenter",
    "ellipse": "medreasoner_monai.segmenters.baselines:EllipseInBox",
    "box": "medreasoner_monai.segmenters.baselines:WholeBox",
    "sam": "medreasoner_monai.segmenters.sam_weights:load",
}

# The others can be made by name alone.
NEED_WEIGHTS = frozenset({"sam"})


def build(name: str = DEFAULT, **options: Any) -> Segmenter[Any]:
    """The segmenter of this name, made with its own options.

    >>> build("ellipse").name
    'ellipse'

    Raises
    ------
    ConfigError
        If there is no such engine, or it does not take these options.
    """
    if name not in ENGINES:
        raise ConfigError(f"there is no segmenter {name!r}; known are {', '.join(ENGINES)}.{nearest(name, ENGINES)}")
    module, _, attribute = ENGINES[name].partition(":")
    factory = getattr(importlib.import_module(module), attribute)
    taken = list(inspect.signature(factory).parameters)
    for option in options:
        if option not in taken:
            known = ", ".join(taken) or "none"
            hint = nearest(option, taken)
            raise ConfigError(f"the segmenter {name!r} has no option {option!r}; it takes {known}.{hint}")
    segmenter: Segmenter[Any] = factory(**options)
    return segmenter
