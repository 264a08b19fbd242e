"""Which slices of a volume become pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.settings.sources import SliceSettings

Areas = NDArray[np.float64]


@dataclass(frozen=True)
class Chosen:
    """Slices to take, and what no slice is taken for.

    Attributes
    ----------
    indices:
        In ascending order.
    lost:
        Targets that are outlined, but on no slice with enough of them, each with its largest area in mm².
    """

    indices: tuple[int, ...]
    lost: Mapping[str, float]


def choose(areas: Mapping[str, Areas], heights: Areas, settings: SliceSettings) -> Chosen:
    """The slices of a volume that become pictures.

    Parameters
    ----------
    areas:
        For each target its area on each slice, mm², ``(slices,)``.
    heights:
        Where each slice lies along their normal, mm, ``(slices,)``, in any order.
    settings:
        How they are taken. A target that is outlined nowhere is passed over.
    """
    taken: set[int] = set()
    lost: dict[str, float] = {}
    for name, area in areas.items():
        if not area.any():
            continue
        enough = (area > 0) & (area >= settings.min_area_mm2)
        if not enough.any():
            lost[name] = float(area.max())
            continue
        largest = int(area.argmax())
        if settings.take == "largest":
            taken.add(largest)
        elif settings.take == "all":
            taken.update(np.flatnonzero(enough).tolist())
        else:
            taken.update(_spaced(enough, heights, largest, settings.every_mm))
    return Chosen(tuple(sorted(taken)), lost)


def _spaced(enough: NDArray[np.bool_], heights: Areas, first: int, every: float) -> set[int]:
    """``first``, and outwards from it to both sides the next slice that lies at least ``every`` mm from the last."""
    taken = {first}
    for side in (1, -1):
        last = heights[first]
        for index in np.argsort(side * heights, kind="stable"):
            if enough[index] and side * (heights[index] - last) >= every - 1e-6:
                taken.add(int(index))
                last = heights[index]
    return taken
