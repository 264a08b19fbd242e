"""Outlines in body units: irregular blobs, rounded polygons, and the noise that makes each of them different.

An outline is a float array of shape (points, 2) holding (x, y), x growing to the image's right and y downwards.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Outline = NDArray[np.float64]


def rotation(degrees: float) -> NDArray[np.float64]:
    """The matrix, shape (2, 2), that turns (x, y) clockwise as seen."""
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


@cache
def _circle(points: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    theta = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.cos(theta), np.sin(theta)


@cache
def _waves(points: int) -> NDArray[np.float64]:
    """The low harmonics that make outlines irregular, weaker the finer they are: shape (waves, points)."""
    theta = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.stack([wave(order * theta) / np.sqrt(2 * order) for order in (2, 3, 4, 5) for wave in (np.cos, np.sin)])


def blob(
    rng: np.random.Generator,
    centre: ArrayLike,
    radii: ArrayLike,
    degrees: float = 0.0,
    wobble: float = 0.04,
    power: float = 2.0,
    points: int = 48,
) -> Outline:
    """Draw an irregular superellipse.

    Parameters
    ----------
    rng : numpy.random.Generator
    centre, radii : array_like of float
        (x, y) in body units, before the rotation.
    degrees : float
        Rotation, clockwise as seen.
    wobble : float
        Relative amplitude of the smooth irregularity.
    power : float
        Superellipse exponent: 2 is an ellipse, more is boxier.
    points : int
        Number of corners.

    Returns
    -------
    numpy.ndarray
        Shape (points, 2).
    """
    cos, sin = _circle(points)
    radius = np.ones(points) if power == 2 else (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power)
    if wobble:
        waves = _waves(points)
        radius = radius * (1 + wobble * (rng.standard_normal(len(waves)) @ waves))
    upright = np.column_stack([radius * cos, radius * sin]) * np.asarray(radii, dtype=np.float64)
    return np.asarray(centre, dtype=np.float64) + upright @ rotation(degrees).T


def smooth(corners: Outline, steps: int = 5) -> Outline:
    """Round a closed polygon of shape (corners, 2) with a Catmull-Rom spline, ``steps`` points a corner."""
    before, after, later = np.roll(corners, 1, 0), np.roll(corners, -1, 0), np.roll(corners, -2, 0)
    t = np.linspace(0, 1, steps, endpoint=False)[None, :, None]
    p0, p1, p2, p3 = (p[:, None, :] for p in (before, corners, after, later))
    curve = p1 + 0.5 * t * (p2 - p0 + t * (2 * p0 - 5 * p1 + 4 * p2 - p3 + t * (3 * (p1 - p2) + p3 - p0)))
    return curve.reshape(-1, 2)


def jitter(rng: np.random.Generator, corners: Outline, amount: float) -> Outline:
    """Move the corners of a closed polygon, shape (corners, 2), by noise that neighbours share."""
    noise = rng.standard_normal(corners.shape)
    shared = (np.roll(noise, 1, 0) + 2 * noise + np.roll(noise, -1, 0)) / 2.45
    return corners + amount * shared
