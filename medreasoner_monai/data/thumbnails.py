"""Small pictures with an outline, for people who look over what was kept and what was set aside."""

from __future__ import annotations

import io

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 128
"""Longest side of a thumbnail, in pixels."""
_OUTLINE = (255, 214, 0)
_FRAME = (0, 200, 255)
_SMALL = 8.0  # pixels of the thumbnail: a target below it is framed too, so that it is found


def outlined(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None, side: int = SIDE) -> Image.Image:
    """A picture with the outline of a mask, RGB, its longest side ``side`` pixels at most.

    A target that would be hard to find at that size gets a frame around it.

    Parameters
    ----------
    image:
        uint8, ``(rows, cols)`` or ``(rows, cols, 3)`` RGB.
    mask:
        bool, ``(rows, cols)``; None or an empty one draws no outline.
    """
    rows, cols = image.shape[:2]
    scale = min(1.0, side / max(rows, cols))
    size = (max(1, round(cols * scale)), max(1, round(rows * scale)))
    colours = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    drawn = cv2.resize(colours, size, interpolation=cv2.INTER_AREA) if scale < 1 else colours.copy()
    if mask is not None and mask.any():
        # Any pixel of the target counts, however small it becomes: nearest neighbour would lose thin ones.
        small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0
        drawn = np.ascontiguousarray(drawn)
        contours, _ = cv2.findContours(small.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, contours, -1, _OUTLINE, 1)
        x, y, width, height = cv2.boundingRect(small.astype(np.uint8))
        if min(width, height) < _SMALL:
            cv2.rectangle(drawn, (x - 5, y - 5), (x + width + 4, y + height + 4), _FRAME, 1)
    return Image.fromarray(np.asarray(drawn, dtype=np.uint8))


def thumbnail(image: NDArray[np.uint8], mask: NDArray[np.bool_] | None) -> bytes:
    """The PNG of :func:`outlined`, with a palette, without metadata."""
    return as_png(outlined(image, mask))


def as_png(picture: Image.Image) -> bytes:
    """A PNG with 255 colours and nothing but pixels in it."""
    buffer = io.BytesIO()
    few = picture.convert("RGB").quantize(255, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    few.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
