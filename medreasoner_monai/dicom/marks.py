"""What a reader needs beside a picture: orientation letters on its edges and a scale bar, as viewers draw them."""

from __future__ import annotations

from functools import cache

from PIL import Image, ImageDraw, ImageFont

from medreasoner_monai.dicom.letters import opposite
from medreasoner_monai.dicom.spacing import Spacing

UNKNOWN = "orientation unknown"
_INK, _SHADE = (255, 244, 190), (0, 0, 0)
_EDGE = 10
_LONGEST = 0.3
"""Of the picture's width, at most, is the scale bar."""
_LENGTHS = tuple(step * ten for ten in (0.001, 0.01, 0.1, 1.0, 10.0, 100.0) for step in (1, 2, 5))


def mark_orientation(picture: Image.Image, letters: tuple[str, str] | None) -> None:
    """Draw the letters of the four edges, or in their place that the orientation is unknown.

    Parameters
    ----------
    letters:
        Along a row and down a column, as :attr:`~medreasoner_monai.dicom.view.Orientation.letters` has them.
    """
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    if letters is None:
        _write(draw, (_EDGE, _EDGE), UNKNOWN, "la", 18)
        return
    (right, left), (bottom, top) = ((one, opposite(one)) for one in letters)
    for text, at, anchor in (
        (left, (_EDGE, height / 2), "lm"),
        (right, (width - _EDGE, height / 2), "rm"),
        (top, (width / 2, _EDGE), "ma"),
        (bottom, (width / 2, height - _EDGE), "md"),
    ):
        _write(draw, at, text, anchor, 24)


def mark_scale(picture: Image.Image, spacing: Spacing, columns: int) -> None:
    """Draw a scale bar of a round length at the lower right.

    Parameters
    ----------
    spacing:
        Of the view's pixels. A bar at the detector says so: what lies nearer to the tube is shown larger.
    columns:
        Of the view before it was enlarged.
    """
    per_mm = picture.width / (columns * spacing.column)
    length = bar_length(_LONGEST * picture.width / per_mm)
    draw = ImageDraw.Draw(picture)
    end, level = picture.width - 2 * _EDGE, picture.height - 2 * _EDGE
    start = end - length * per_mm
    for ink, thick in ((_SHADE, 5), (_INK, 2)):
        draw.line((start, level, end, level), ink, thick)
        for x in (start, end):
            draw.line((x, level - 6, x, level + 6), ink, thick)
    _write(draw, (end, level - _EDGE), bar_text(length, spacing), "rd", 16)


def bar_length(longest: float) -> float:
    """The greatest round length (1, 2 or 5 times a power of ten) of at most ``longest``, both in mm.

    >>> bar_length(120.0)
    100.0
    """
    return max((one for one in _LENGTHS if one <= longest), default=_LENGTHS[0])


def bar_text(length: float, spacing: Spacing) -> str:
    """The length of a scale bar in words.

    >>> bar_text(50.0, Spacing(1, 1)), bar_text(5.0, Spacing(1, 1, "detector"))
    ('5 cm', '5 mm at detector')
    """
    text = f"{length / 10:g} cm" if length >= 10 else f"{length:g} mm"
    return text if spacing.plane == "patient" else f"{text} at detector"


def _write(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, anchor: str, size: int) -> None:
    draw.text(at, text, _INK, font(size, bold=True), anchor=anchor, stroke_width=2, stroke_fill=_SHADE)


@cache
def font(size: int, *, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans as matplotlib carries it: many scripts, and the same on every machine."""
    from matplotlib import get_data_path

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans{'-Bold' if bold else ''}.ttf", size)
