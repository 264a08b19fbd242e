"""Pairs of near perceptual hashes between two files of them.

Every hash of one file is compared with every hash of the other, in blocks that fit a processor's cache. That is exact,
and quicker than an index: to find all within 12 of 64 bits, banded look-ups (Norouzi et al., *Multi-index hashing*,
CVPR 2012) would have to try 548 keys a hash at four bands of 16 bits, each a search in a tree, while a core compares
some hundred million pairs a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RADIUS = 12
"""Bits in which two hashes may differ for their pictures to be compared."""
MOST = 32
"""Pictures that one is compared with at most, the nearest first: bounds the work where a set is all alike."""
HASHES = np.dtype([("number", "<u8"), ("whole", "<u8"), ("inner", "<u8")])
"""A record of the files: a look's number and its two hashes."""
_ROWS, _COLS = 64, 8192

Records = NDArray[np.void]


def near_pairs(
    queries: Path, others: Path, *, radius: int = RADIUS, most: int = MOST
) -> Iterator[tuple[int, list[int]]]:
    """For each look of one file that has any, the numbers of the nearest looks of the other.

    Parameters
    ----------
    queries, others:
        Files of :data:`HASHES`; they are mapped, not read into memory.
    radius:
        Two are near where their whole pictures' hashes, or their inner parts', differ in at most so many bits.
    """
    first, second = (_mapped(path) for path in (queries, others))
    for start in range(0, len(first), _ROWS):
        block = first[start : start + _ROWS]
        found: list[list[tuple[int, int]]] = [[] for _ in block]
        for at in range(0, len(second), _COLS):
            part = second[at : at + _COLS]
            bits = _bits(block, part)
            for row, col in np.argwhere(bits <= radius).tolist():
                found[row].append((int(bits[row, col]), int(part["number"][col])))
            found = [near if len(near) <= 4 * most else sorted(near)[:most] for near in found]
        for record, near in zip(block, found, strict=True):
            if near:
                yield int(record["number"]), [number for _, number in sorted(near)[:most]]


def _bits(a: Records, b: Records) -> NDArray[np.uint8]:
    """In how many bits the nearer of two hashes differ, ``(len(a), len(b))``."""
    counts = [np.bitwise_count(a[name][:, None] ^ b[name][None, :]) for name in ("whole", "inner")]
    return np.minimum(*counts)


def _mapped(path: Path) -> Records:
    return np.memmap(path, HASHES, "r") if path.stat().st_size else np.empty(0, HASHES)
