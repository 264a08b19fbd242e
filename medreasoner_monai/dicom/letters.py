"""Directions in the patient and the letters that name them (PS3.3 C.7.6.1.1.1): L, P and H are x, y and z of LPS."""

from __future__ import annotations

import numpy as np

from medreasoner_monai.dicom.values import Vector

_NAMES = (("L", "R"), ("P", "A"), ("H", "F"))
_VECTORS = {
    letter: sign * np.eye(3)[axis]
    for axis, pair in enumerate(_NAMES)
    for letter, sign in zip(pair, (1, -1), strict=True)
}
_LEAST = float(np.sin(np.radians(5)))
"""Parts of a direction below this are not named: a head turned by a degree or two is not oblique."""
_SHARES = (1.0, 0.5, 0.25)


def letters_of(direction: Vector) -> str:
    """Letters of a unit vector in LPS, that of its greatest part first.

    >>> letters_of(np.array([0.8, 0.0, -0.6]))
    'LF'
    """
    sizes = np.abs(direction).round(6)
    order = sorted(range(3), key=lambda axis: (-sizes[axis], axis))
    return "".join(_NAMES[axis][0 if direction[axis] > 0 else 1] for axis in order if sizes[axis] >= _LEAST)


def direction_of(letters: str) -> Vector | None:
    """A unit vector in LPS that has these letters, or None where they name no direction.

    Letters give an order of magnitudes, not an angle: the second part is taken as half of the first, the third as half
    of the second.

    >>> direction_of("L")
    array([1., 0., 0.])
    >>> direction_of("LR") is None
    True
    """
    if not 1 <= len(letters) <= 3 or any(letter not in _VECTORS for letter in letters):
        return None
    parts = np.stack([_VECTORS[letter] for letter in letters])
    if (np.abs(parts).sum(axis=0) > 1).any():  # one axis named twice
        return None
    direction = np.array(_SHARES[: len(letters)]) @ parts
    return np.asarray(direction / np.linalg.norm(direction))


def opposite(letters: str) -> str:
    """The letters of the opposite direction.

    >>> opposite("LF")
    'RH'
    """
    exchanged = {a: b for pair in _NAMES for a, b in (pair, pair[::-1])}
    return "".join(exchanged[letter] for letter in letters)
