"""From drawn values to a picture: blur, noise, display window, burnt-in text."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]


def noise(rng: np.random.Generator, shape: tuple[int, int], grain: float) -> Field:
    """Noise of unit spread; ``grain`` is the size of its features in pixels (1: white)."""
    if grain <= 1:
        return rng.standard_normal(shape, dtype=np.float32)
    coarse = (int(np.ceil(shape[0] / grain)) + 1, int(np.ceil(shape[1] / grain)) + 1)
    small = rng.standard_normal(coarse, dtype=np.float32)
    wide = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
    return np.asarray(wide, dtype=np.float32) * np.float32(1.25)  # interpolation evens the noise out


def blurred(values: Field, sigma: float) -> Field:
    """Gaussian blur of ``sigma`` pixels."""
    if sigma <= 5:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), dtype=np.float32)
    # A wide blur leaves nothing that a quarter of the resolution could not hold.
    small = cv2.resize(values, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    wide = cv2.GaussianBlur(small, (0, 0), sigma / 4)
    return np.asarray(cv2.resize(wide, values.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def windowed(values: Field, centre: float, width: float, gamma: float = 1.0) -> NDArray[np.uint8]:
    """Apply a display window: ``centre - width / 2`` becomes 0, ``centre + width / 2`` 255, bent by ``gamma``."""
    scaled = np.clip((values - np.float32(centre - width / 2)) / np.float32(width), 0, 1)
    if gamma != 1:
        scaled = scaled ** np.float32(gamma)
    return (scaled * np.float32(255)).astype(np.uint8)


def stamp_text(image: NDArray[np.uint8], rng: np.random.Generator, words: Sequence[str], value: int = 255) -> None:
    """Write one of ``words`` into a corner, like the burnt-in markers of real pictures."""
    rows, cols = image.shape
    size = rng.uniform(0.3, 0.5)
    x = int(rng.choice([0.03, 0.85]) * cols)
    y = int(rng.choice([0.08, 0.96]) * rows)
    cv2.putText(image, str(rng.choice(list(words))), (x, y), cv2.FONT_HERSHEY_SIMPLEX, size, (value,), 1, cv2.LINE_AA)
