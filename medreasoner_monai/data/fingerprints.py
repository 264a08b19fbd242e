"""What a sample is recognised by when it turns up again: digests of picture, mask and question, and a picture's look.

A **look** is two 64-bit perceptual hashes and a thumbnail. The hashes say which pictures may be the same: each bit is
the sign of one of the lowest frequencies of a cosine transform about their median (Zauner, *Implementation and
benchmarking of perceptual image hash functions*, 2010), so that they survive resizing, compression and a gentle change
of window. One is of the whole picture, one of what is left when empty borders are cut off, which survives padding and
a shift. The thumbnail then decides (:mod:`~medreasoner_monai.data.likeness`).

Where a source knows the values before windowing, a second look is taken of those, so that two windows of one slice are
recognised as one. The hash works on stored values of any type and depth; imagehash takes 8-bit pictures alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from medreasoner_monai.data.sample import Sample

SIDE = 64
"""Of a thumbnail, in pixels."""
FIELDS: tuple[pa.Field, ...] = (
    pa.field("picture_digest", pa.binary()),
    pa.field("mask_digest", pa.binary()),
    pa.field("question_digest", pa.binary()),
    pa.field("looks", pa.list_(pa.struct([("whole", pa.uint64()), ("inner", pa.uint64()), ("thumb", pa.binary())]))),
)
"""Columns of a shard."""
_HASHED = 32  # pixels a side of what is transformed
_EMPTY = 0.1  # of the range of grey values: what lies under it is empty
_FILLED = 0.02  # of a row's or column's pixels: with fewer it is empty

Gray = NDArray[np.float32]


@dataclass(frozen=True)
class Look:
    """Perceptual hashes of a whole picture and of its inner part, and ``thumb``: ``SIDE * SIDE`` bytes of grey."""

    whole: int
    inner: int
    thumb: bytes

    @property
    def pixels(self) -> Gray:
        """The thumbnail, ``(SIDE, SIDE)``, 0 to 255."""
        return np.frombuffer(self.thumb, np.uint8).reshape(SIDE, SIDE).astype(np.float32)


@dataclass(frozen=True)
class Fingerprint:
    """Digests of the picture's pixels, of the mask (None where there is no target) and of the question, and looks."""

    picture: bytes
    mask: bytes | None
    question: bytes
    looks: tuple[Look, ...]

    def columns(self) -> dict[str, Any]:
        """Values of :data:`FIELDS`."""
        looks = [{"whole": k.whole, "inner": k.inner, "thumb": k.thumb} for k in self.looks]
        return {
            "picture_digest": self.picture,
            "mask_digest": self.mask,
            "question_digest": self.question,
            "looks": looks,
        }

    @classmethod
    def from_columns(cls, row: Mapping[str, Any]) -> Fingerprint:
        """Read what :meth:`columns` gave."""
        looks = tuple(Look(k["whole"], k["inner"], k["thumb"]) for k in row["looks"])
        return cls(row["picture_digest"], row["mask_digest"], row["question_digest"], looks)


class Fingerprinter:
    """Takes fingerprints; the looks of a picture that is asked about several times in a row are taken once."""

    def __init__(self) -> None:
        self._last: tuple[bytes, bytes | None, tuple[Look, ...]] | None = None

    def take(self, sample: Sample, stored: NDArray[Any] | None = None) -> Fingerprint:
        """The fingerprint of a sample.

        Parameters
        ----------
        stored:
            Values of its picture before windowing, ``(rows, cols)`` of any real type.
        """
        picture = array_digest(sample.image)
        below = None if stored is None else array_digest(stored)
        if self._last is None or self._last[:2] != (picture, below):
            looks = [look(sample.image)] + ([] if stored is None else [look(stored)])
            self._last = picture, below, tuple(looks)
        mask = array_digest(np.packbits(sample.mask), repr(sample.mask.shape)) if sample.present else None
        return Fingerprint(picture, mask, question_digest(sample.question), self._last[2])


def array_digest(array: NDArray[Any], about: str = "") -> bytes:
    """16 bytes of sha256 over an array's shape, type and values."""
    digest = hashlib.sha256(f"{about} {array.shape} {array.dtype}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.digest()[:16]


def question_digest(question: str) -> bytes:
    """16 bytes of sha256 over a question's letters and digits, whatever their case and what stands between them.

    >>> question_digest("Where is the  LIVER?") == question_digest("where is the liver")
    True
    """
    words = "".join(c if c.isalnum() else " " for c in question.casefold()).split()
    return hashlib.sha256(" ".join(words).encode()).digest()[:16]


def look(pixels: NDArray[Any]) -> Look:
    """The look of a picture, ``(rows, cols)`` of any real type or ``(rows, cols, 3)`` RGB of 8 bits."""
    gray = to_gray(pixels)
    thumb = cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    top, bottom, left, right = inner_part(gray)
    return Look(
        perceptual_hash(gray),
        perceptual_hash(gray[top:bottom, left:right]),
        np.rint(thumb).clip(0, 255).astype(np.uint8).tobytes(),
    )


def mirrored(seen: Look) -> Look:
    """The look of a picture's mirror image, left for right, made of its thumbnail."""
    gray = np.ascontiguousarray(seen.pixels[:, ::-1])
    top, bottom, left, right = inner_part(gray)
    inner = perceptual_hash(gray[top:bottom, left:right])
    return Look(perceptual_hash(gray), inner, gray.astype(np.uint8).tobytes())


def to_gray(pixels: NDArray[Any]) -> Gray:
    """Grey values from 0 to 255: those of 8 bits as they are, others scaled from their 0.5th to 99.5th percentile."""
    if pixels.ndim == 3:
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY), dtype=np.float32)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.float32)
    values = np.nan_to_num(pixels.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(values, [0.5, 99.5])
    if high <= low:
        return np.zeros(pixels.shape, np.float32)
    return (255 * np.clip((values - low) / (high - low), 0, 1)).astype(np.float32)


def inner_part(gray: Gray) -> tuple[int, int, int, int]:
    """First and past-the-last row and column of what is not empty border; of the whole where that leaves nothing."""
    low, high = np.percentile(gray, [1, 99])
    filled = gray > low + _EMPTY * (high - low)
    rows, cols = (np.flatnonzero(filled.mean(axis=axis) > _FILLED) for axis in (1, 0))
    if min(rows.size, cols.size) < 2:
        return 0, gray.shape[0], 0, gray.shape[1]
    return int(rows[0]), int(rows[-1]) + 1, int(cols[0]), int(cols[-1]) + 1


def perceptual_hash(gray: Gray) -> int:
    """64 bits, the lowest frequency first: whether each of 8 x 8 is above the median of all but the mean."""
    small = cv2.resize(gray, (_HASHED, _HASHED), interpolation=cv2.INTER_AREA)
    low = cv2.dct(small)[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return int.from_bytes(np.packbits(bits).tobytes(), "big")
