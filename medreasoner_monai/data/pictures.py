"""Encoded pictures as arrays: images in the 8 bits that a model sees, masks with the values that are stored.

**Images** of 8 bits a channel stay as they are. Those of more (16-bit PNG and TIFF, 32-bit integers, floats) are scaled
linearly from their own least and greatest finite value to 0 and 255, all channels of a colour picture together: a file
does not say how many of its bits are used, and by its depth a 12-bit scan in a file of 16 bits would be nearly black.
Values that are NaN become 0; a picture of one value becomes 0. Grey stays grey, everything else (palettes, CMYK, YCbCr)
becomes RGB. Transparent pixels are seen on black.

**Masks** are never scaled: 1 and 300 are two labels in a mask of 16 bits. A pixel that is wholly transparent is
background.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

UNREADABLE = (OSError, ValueError, SyntaxError, EOFError, struct.error, Image.DecompressionBombError, cv2.error)
"""What reading a damaged or oversized picture raises."""

_GREY = ("1", "L", "LA", "La")
_BLACK = (0, 0, 0, 255)


def read_image(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as uint8, ``(rows, cols)`` if it is grey, else ``(rows, cols, 3)`` RGB.

    Raises
    ------
    OSError, ValueError, …
        One of :data:`UNREADABLE`, if the bytes are no readable picture.
    """
    pixels, alpha = _decode(data)
    seen = to_8_bits(pixels)
    if alpha is None or (alpha == 1).all():
        return seen
    share = alpha if seen.ndim == 2 else alpha[:, :, None]
    return np.rint(seen * share).astype(np.uint8)


def read_labels(data: bytes) -> NDArray[np.uint64]:
    """The values of an encoded mask, ``(rows, cols)``: 0 is background, different colours are different values.

    Raises
    ------
    OSError, ValueError, …
        One of :data:`UNREADABLE`, if the bytes are no readable picture, or hold values that are no labels: negative, or
        no whole numbers.
    """
    pixels, alpha = _decode(data)
    if not (np.isfinite(pixels).all() and (pixels >= 0).all() and (pixels == np.floor(pixels)).all()):
        raise ValueError("a mask holds whole numbers from 0 on")
    values = pixels.astype(np.uint64)
    if values.ndim == 3:
        base = np.uint64(256 if pixels.dtype == np.uint8 else 65536)
        values = (values[..., 0] * base + values[..., 1]) * base + values[..., 2]
    return values if alpha is None else np.where(alpha > 0, values, np.uint64(0))


def to_8_bits(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Values scaled from their least and greatest to 0 and 255; those of 8 bits are returned as they are.

    >>> to_8_bits(np.array([100, 200, 300], dtype=np.uint16))
    array([  0, 128, 255], dtype=uint8)
    """
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    if low == high:
        return np.zeros(values.shape, dtype=np.uint8)
    scaled = np.clip((values - low) / (high - low), 0, 1) * 255
    return np.rint(np.nan_to_num(scaled)).astype(np.uint8)


def is_plain(picture: Image.Image) -> bool:
    """Whether any reader makes of an opened picture what :func:`read_image` does: a PNG of 8 bits, grey or RGB."""
    return (
        picture.format == "PNG"
        and picture.mode in ("L", "RGB")
        and "transparency" not in picture.info
        and not _cut(picture)
    )


def _decode(data: bytes) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Values as stored, ``(rows, cols)`` or ``(rows, cols, 3)``, and how opaque each pixel is from 0 to 1."""
    with Image.open(io.BytesIO(data)) as picture:
        if _cut(picture):
            return _deep(data, grey=_raw_mode(picture).startswith("LA"))
        picture.load()
        if picture.mode in ("I", "F") or picture.mode.startswith("I;"):
            pixels = np.asarray(picture)
            return pixels.astype(pixels.dtype.newbyteorder("=")), None
        grey = picture.mode in _GREY
        if picture.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
            colours = np.asarray(picture.convert("RGBA"))
            opaque = colours[:, :, 3] / 255
            return np.ascontiguousarray(colours[:, :, 0] if grey else colours[:, :, :3]), opaque
        return np.asarray(picture.convert("L" if grey else "RGB"), dtype=np.uint8), None


def _raw_mode(picture: Image.Image) -> str:
    """How the file stores a pixel, such as ``RGB;16B``; empty if its decoder does not say."""
    tiles = getattr(picture, "tile", None)  # of a file's picture; gone once it is loaded
    args = tiles[0].args if tiles else None
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _cut(picture: Image.Image) -> bool:
    """Whether Pillow would drop the lower half of each value: it has no mode for several channels of 16 bits."""
    return ";16" in _raw_mode(picture) and not picture.mode.startswith("I")


def _deep(data: bytes, *, grey: bool) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Several channels of 16 bits, read by OpenCV (blue first)."""
    pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] not in (3, 4):
        raise ValueError("its channels of 16 bits cannot be decoded")
    colours = np.ascontiguousarray(pixels[:, :, 0] if grey else pixels[:, :, 2::-1])
    return colours, pixels[:, :, 3] / 65535 if pixels.shape[2] == 4 else None
