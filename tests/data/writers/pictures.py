"""Small labelled pictures for the tests of writers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import SourceRef

SIDE = 96


def disc(row: float, col: float, radius: float, side: int = SIDE) -> NDArray[np.bool_]:
    """bool ``(side, side)``, true within a circle; centre and radius in pixels."""
    rows, cols = np.mgrid[:side, :side]
    return np.asarray((rows + 0.5 - row) ** 2 + (cols + 0.5 - col) ** 2 <= radius**2)


def picture(
    masks: dict[str, NDArray[np.bool_]],
    *,
    modality: str = "CT",
    site: str = "abdomen",
    left: str = "",
    name: str = "p1",
    labelled: frozenset[str] = frozenset(),
    bright: int = 200,
) -> LabelledImage:
    """A gray picture in which every mask is ``bright``."""
    shape = next(iter(masks.values())).shape if masks else (SIDE, SIDE)
    image = np.full(shape, 80, dtype=np.uint8)
    for mask in masks.values():
        image[mask] = bright
    targets = tuple(Target(target, mask, f"{name}_{target}.png") for target, mask in masks.items())
    origin = SourceRef("made", f"images/{name}.png", left=left)
    return LabelledImage(name, image, targets, modality, site, f"patient-{name}", origin, labelled=labelled)
