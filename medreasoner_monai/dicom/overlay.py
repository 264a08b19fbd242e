"""The answer as one picture: the slice with mask, box and points, below it question, trace and notice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.marks import font, mark_orientation, mark_scale
from medreasoner_monai.dicom.spacing import Spacing
from medreasoner_monai.dicom.view import Orientation
from medreasoner_monai.task.geometry import Box, Frame, Points, convert

LONG_SIDE = 768
"""Pixels; smaller slices are enlarged to it."""

_MASK = (64, 196, 180)
_BOX = (255, 190, 60)
_POINT = (255, 92, 92)
_PAPER, _INK, _FAINT = (22, 24, 28), (238, 240, 242), (160, 166, 174)
_WARNING = (255, 120, 90)
_FILL = 0.28
_MARGIN = 20
_TRACE_LIMIT = 420


def overlay(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_] | None,
    box: Box | None,
    points: Points | None,
    *,
    question: str,
    trace: str | None = None,
    heading: str = "",
    flags: Sequence[str] = (),
    orientation: Orientation | None = None,
    spacing: Spacing | None = None,
) -> Image.Image:
    """Draw an answer over its slice, in the shape that it has in the patient.

    Parameters
    ----------
    image:
        ``(rows, columns)`` grey or ``(rows, columns, 3)`` RGB.
    mask:
        ``(rows, columns)``; filled translucently and outlined.
    box, points:
        In any frame of the picture.
    question, trace, heading:
        Written below; the trace is shortened.
    flags:
        Reasons to distrust the answer, written below it, each on a line of its own.
    orientation:
        Of the view: its letters stand on the four edges, or that it is unknown. None for a picture of no patient.
    spacing:
        Of the view's pixels: for a scale bar, and so that what is not square is not shown so. None where unknown.

    Returns
    -------
    An RGB image without metadata, its picture part at least :data:`LONG_SIDE` pixels on the long side.
    """
    size = _drawn_size(image.shape[:2], spacing)
    picture = Image.fromarray(image).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if mask is not None:
        picture = _paint(picture, mask)
    draw = ImageDraw.Draw(picture)
    frame = Frame(*size)
    if box is not None:
        draw.rectangle(convert(box, frame).xyxy, outline=_BOX, width=3)
    if points is not None:
        for x, y in convert(points, frame).xy:
            draw.ellipse((x - 8, y - 8, x + 8, y + 8), fill=_POINT, outline="white", width=2)
    if orientation is not None:
        mark_orientation(picture, orientation.letters)
    if spacing is not None:
        mark_scale(picture, spacing, image.shape[1])
    width = max(size[0], LONG_SIDE)  # a tall, narrow slice still needs room for the caption
    caption = _caption(width, question, trace, heading, flags)
    out = Image.new("RGB", (width, size[1] + caption.height), _PAPER)
    out.paste(picture, ((width - size[0]) // 2, 0))
    out.paste(caption, (0, size[1]))
    return out


def _paint(picture: Image.Image, mask: NDArray[np.bool_]) -> Image.Image:
    """The mask enlarged pixel by pixel, so that what is outlined is what was segmented."""
    large = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST), dtype=bool)
    shrunk = large.copy()
    for axis in (0, 1):
        for step in (-2, 2):
            # Outside the picture counts as mask, so that a mask cut off by the border has no line along it.
            moved = np.ones_like(large)
            target, source = [slice(None)] * 2, [slice(None)] * 2
            target[axis], source[axis] = (
                (slice(2, None), slice(None, -2)) if step > 0 else (slice(None, -2), slice(2, None))
            )
            moved[tuple(target)] = large[tuple(source)]
            shrunk &= moved
    pixels: NDArray[Any] = np.asarray(picture, dtype=np.float32).copy()
    pixels[large] = (1 - _FILL) * pixels[large] + _FILL * np.asarray(_MASK, dtype=np.float32)
    pixels[large & ~shrunk] = _MASK
    return Image.fromarray(pixels.round().astype(np.uint8))


def _drawn_size(shape: tuple[int, int], spacing: Spacing | None) -> tuple[int, int]:
    """Width and height of the picture: no side smaller than stored, the longer one at least :data:`LONG_SIDE`."""
    rows, columns = shape
    tall, wide = (1.0, 1.0) if spacing is None else (spacing.row, spacing.column)
    height, width = rows * tall / min(tall, wide), columns * wide / min(tall, wide)
    scale = max(1.0, LONG_SIDE / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _caption(width: int, question: str, trace: str | None, heading: str, flags: Sequence[str]) -> Image.Image:
    shortened = "" if trace is None else " ".join(trace.split())
    if len(shortened) > _TRACE_LIMIT:
        shortened = shortened[: _TRACE_LIMIT - 1].rsplit(" ", 1)[0] + " …"
    blocks = (
        (heading, font(15), _FAINT),
        (question, font(21, bold=True), _INK),
        (shortened, font(18), _INK),
        *((f"⚠ {flag}", font(18, bold=True), _WARNING) for flag in flags),
        (RESEARCH_USE, font(15), _FAINT),
    )
    placed = []
    y = _MARGIN
    for text, face, colour in blocks:
        lines = list(_wrap(text, face, width - 2 * _MARGIN))
        for line in lines:
            placed.append((y, line, face, colour))
            y += round(face.size * 1.35)
        y += 10 if lines else 0
    strip = Image.new("RGB", (width, y + _MARGIN - 10), _PAPER)
    draw = ImageDraw.Draw(strip)
    for top, line, face, colour in placed:
        draw.text((_MARGIN, top), line, font=face, fill=colour)
    return strip


def _wrap(text: str, face: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    """Lines no wider than ``width`` pixels; a word that is too wide alone is cut."""
    line = ""
    for word in _pieces(text.split(), face, width):
        longer = f"{line} {word}".strip()
        if line and face.getlength(longer) > width:
            yield line
            line = word
        else:
            line = longer
    if line:
        yield line


def _pieces(words: Sequence[str], face: ImageFont.FreeTypeFont, width: int) -> Iterator[str]:
    for word in words:
        rest = word
        while face.getlength(rest) > width:
            cut = max(1, int(len(rest) * width / face.getlength(rest)) - 1)
            yield rest[:cut]
            rest = rest[cut:]
        yield rest
