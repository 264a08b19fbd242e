"""From one slice's mask to the volume's: what carries a mask through a series, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from medreasoner_monai.segmenters.protocol import Image, Mask, Prompt

Pictures = Callable[[int], Image]
"""A slice's picture by its number: uint8, ``(rows, columns)`` or ``(rows, columns, 3)``; all of one size."""
SHRANK, GONE = "the region shrank to", "the object is gone there"
ENDED = (SHRANK, GONE)
"""What a stop says where the mask vanished; any other stop is a doubt about the mask."""
REACHED = "reached the"
"""How the stop of a carrier begins that saw every slice to the end of the series."""


@dataclass(frozen=True, slots=True)
class CarriedSlice:
    """A slice that the mask was carried to: ``confidence`` in [0, 1] is the carrier's own measure."""

    index: int
    mask: Mask
    confidence: float


@dataclass(frozen=True, slots=True)
class Carried:
    """The slices reached from the key slice, which is not among them, and why it went no further each way.

    ``stops`` holds a sentence for the way to lower numbers and one for the way to higher ones, such as ``stopped
    before slice 12: overlap 0.21 with the last mask, 0.4 is asked for`` or ``reached the first slice``.
    """

    slices: tuple[CarriedSlice, ...]
    stops: tuple[str, str]


@runtime_checkable
class Carrier(Protocol):
    """Takes a mask on a key slice and follows it through the neighbours, both ways."""

    def carry(
        self, pictures: Pictures, count: int, key: int, prompt: Prompt, mask: Mask, step: Callable[[int], None]
    ) -> Carried:
        """Follow a mask.

        Parameters
        ----------
        pictures:
            Slices by number, from 0 to ``count - 1``; each is asked for when it is needed, and not kept.
        key:
            The number of the slice that has the mask.
        prompt:
            The answer's box and points there.
        mask:
            Boolean ``(rows, columns)``, with at least one marked pixel.
        step:
            Called with the number of slices done so far, for a progress bar.
        """
        ...
