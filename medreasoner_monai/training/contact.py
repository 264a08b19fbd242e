"""A contact sheet: pictures side by side, truth and answer drawn into each, a line of text below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from medreasoner_monai.task.geometry import Box, Frame, Points, convert

SIDE = 240
"""Pixels of a tile; pictures are enlarged or reduced to fit."""

_COLUMNS = 4
_LINE, _GAP = 18, 8
_TRUTH, _ANSWER = (53, 208, 255), (255, 166, 48)
_PAPER, _INK, _SHADE = (22, 24, 28), (238, 240, 242), (0, 0, 0)


@dataclass(frozen=True)
class Tile:
    """One picture. Shapes are in any frame of it; where the answer has none, none is drawn."""

    picture: Image.Image
    truth: tuple[Box, Points] | None
    answer: tuple[Box, Points] | None
    caption: str


def contact_sheet(tiles: Sequence[Tile]) -> Image.Image:
    """The tiles in rows of four, as pixels alone: nothing that came with a picture is carried over.

    Truth is a blue box with dots for its key points, the answer an orange one with crosses.
    """
    columns = min(_COLUMNS, max(1, len(tiles)))
    rows = -(-len(tiles) // columns) or 1
    across, down = SIDE + _GAP, SIDE + _LINE + _GAP
    sheet = Image.new("RGB", (columns * across + _GAP, rows * down + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(12)
    for n, tile in enumerate(tiles):
        x, y = _GAP + n % columns * across, _GAP + n // columns * down
        shown = draw_tile(tile)
        sheet.paste(shown, (x + (SIDE - shown.width) // 2, y + (SIDE - shown.height) // 2))
        draw.text((x, y + SIDE + 2), _fitting(tile.caption, font), font=font, fill=_INK)
    return sheet


def draw_tile(tile: Tile) -> Image.Image:
    """The picture with its shapes, :data:`SIDE` pixels on its long side."""
    pixels = Image.fromarray(np.asarray(tile.picture.convert("RGB")))
    scale = SIDE / max(pixels.size)
    size = (max(1, round(pixels.width * scale)), max(1, round(pixels.height * scale)))
    shown = pixels.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(shown)
    frame = Frame(*size)
    for shapes, colour, crossed in ((tile.truth, _TRUTH, False), (tile.answer, _ANSWER, True)):
        if shapes is None:
            continue
        box, points = convert(shapes[0], frame), convert(shapes[1], frame)
        draw.rectangle(box.xyxy, outline=_SHADE, width=3)
        draw.rectangle(box.xyxy, outline=colour, width=2)
        for x, y in points.xy:
            if crossed:
                draw.line((x - 4, y - 4, x + 4, y + 4), fill=colour, width=2)
                draw.line((x - 4, y + 4, x + 4, y - 4), fill=colour, width=2)
            else:
                draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=colour, outline=_SHADE)
    return shown


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of a line as is no wider than a tile."""
    while text and font.getlength(text) > SIDE:
        text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
    return text
