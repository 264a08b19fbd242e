"""Made volumes whose truth is known: an organ among others, in noise, as CT-like grey values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ellipsoid(shape: tuple[int, int, int], centre: tuple[float, float, float], radii: tuple[float, float, float]):  # type: ignore[no-untyped-def]
    """Boolean ``(slices, rows, columns)``; centre and radii in the same order."""
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    parts = [((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre, radii, strict=True)]
    return parts[0] + parts[1] + parts[2] <= 1


def organ_volume(slices: int = 40, side: int = 128) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A body with an organ that begins and ends inside the volume, and the organ ``(slices, rows, columns)``."""
    shape = (slices, side, side)
    rng = np.random.default_rng(3)
    volume = np.full(shape, 10.0)
    volume[ellipsoid(shape, (slices / 2, side / 2, side / 2), (slices * 9, side * 0.45, side * 0.47))] = 95
    organ = ellipsoid(shape, (slices / 2, side * 0.5, side * 0.36), (slices * 0.3, side * 0.22, side * 0.18))
    volume[organ] = 150
    volume[ellipsoid(shape, (slices / 2, side * 0.6, side * 0.72), (slices * 0.2, side * 0.1, side * 0.1))] = 190
    noisy = volume + rng.normal(0, 6, shape)
    return np.clip(noisy, 0, 255).astype(np.uint8), organ
