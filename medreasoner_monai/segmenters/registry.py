"""Segmenters by name, as a config or the command line gives it."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import dataclass
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
    "sam-med2d": "medreasoner_monai.segmenters.sam_med2d:load",
    "sam2": "medreasoner_monai.segmenters.sam2_weights:load",
}

# The others can be made by name alone.
NEED_WEIGHTS = frozenset({"sam", "sam-med2d", "sam2"})


@dataclass(frozen=True)
class Choice:
    """A segmenter as a person names it: ``label`` is what its results are called, ``options`` go to the engine."""

    label: str
    name: str
    options: dict[str, str]

    @classmethod
    def read(cls, text: str) -> Choice:
        """From ``NAME``, ``NAME:option=value,…`` or ``LABEL=NAME:option=value,…``.

        >>> Choice.read("medsam=sam:weights=medsam.pth")
        Choice(label='medsam', name='sam', options={'weights': 'medsam.pth'})

        Raises
        ------
        ConfigError
            If the text is not of this form.
        """
        head, _, rest = text.partition(":")
        label, equals, name = head.partition("=")
        options: dict[str, str] = {}
        for part in filter(None, rest.split(",")):
            key, given, value = part.partition("=")
            if not given:
                raise ConfigError(f"segmenter {text!r}: {part!r} is not option=value")
            options[key.strip()] = value.strip()
        label, name = label.strip(), (name if equals else label).strip()
        if not label or not name or "/" in label:
            raise ConfigError(f"segmenter {text!r} is not NAME:option=value,… or LABEL=NAME:option=value,…")
        return cls(label, name, options)

    def build(self) -> Segmenter[Any]:
        """The segmenter; see :func:`build`."""
        return build(self.name, **self.options)


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
