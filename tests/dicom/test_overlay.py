"""The picture of an answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medreasoner_monai.dicom.marks import bar_length, bar_text, mark_scale
from medreasoner_monai.dicom.overlay import LONG_SIDE, overlay
from medreasoner_monai.dicom.spacing import Spacing
from medreasoner_monai.dicom.view import AS_IT_LIES, Orientation
from medreasoner_monai.task.geometry import Box, Frame, Points


@pytest.mark.parametrize("shape", [(64, 64), (100, 300), (300, 100), (900, 1200), (40, 60, 3)])
def test_picture_part_is_large_and_the_caption_below(shape: tuple[int, ...]) -> None:
    out = overlay(np.zeros(shape, dtype=np.uint8), None, None, None, question="What is it?")
    assert max(out.size) >= LONG_SIDE and out.width >= max(LONG_SIDE, shape[1])
    rows = round(shape[0] * max(1, LONG_SIDE / max(shape[:2])))
    assert out.height > rows + 40


def test_mask_box_and_points_lie_where_they_belong() -> None:
    image = np.zeros((96, 96), dtype=np.uint8)
    mask = np.zeros((96, 96), dtype=bool)
    mask[24:48, 24:72] = True
    frame = Frame(96, 96, "dicom")
    box = Box(12, 12, 84, 60, frame)
    points = Points((36, 36), (60, 36), frame)
    pixels = np.asarray(overlay(image, mask, box, points, question="?")).astype(int)
    scale = LONG_SIDE // 96
    red, green, _ = pixels[36 * scale, 36 * scale]
    assert red > 200 and green < 120, "a point"
    assert pixels[36 * scale, 48 * scale].sum() > 60, "inside the mask"
    assert pixels[80 * scale, 48 * scale].sum() == 0, "outside everything"
    assert pixels[12 * scale + 1, 48 * scale][0] > 200, "the box's upper edge"


def test_nothing_but_pixels_is_saved(tmp_path: Path) -> None:
    overlay(np.zeros((50, 50), np.uint8), None, None, None, question="Q", trace="long " * 500).save(tmp_path / "o.png")
    assert Image.open(tmp_path / "o.png").info == {}


def test_a_word_wider_than_the_picture_is_cut() -> None:
    short = overlay(np.zeros((50, 50), np.uint8), None, None, None, question="Q")
    assert overlay(np.zeros((50, 50), np.uint8), None, None, None, question="Q" * 300).height > short.height


BLACK = np.zeros((64, 64), np.uint8)


def inked(**more: Any) -> dict[str, bool]:
    """Which edges and corners of a black picture something is drawn on."""
    pixels = np.asarray(overlay(BLACK, None, None, None, question="?", **more))[:LONG_SIDE].any(axis=-1)
    near, low, high = 40, LONG_SIDE // 2 - 30, LONG_SIDE // 2 + 30
    return {
        "left": pixels[low:high, :near].any(),
        "right": pixels[low:high, -near:].any(),
        "top": pixels[:near, low:high].any(),
        "bottom": pixels[-near:, low:high].any(),
        "corner": pixels[:near, :near].any(),
        "scale": pixels[-near:, -near:].any(),
    }


def test_letters_stand_on_the_four_edges_or_it_is_said_that_there_are_none() -> None:
    axial = Orientation(np.array([1.0, 0, 0, 0, 1, 0]))
    assert inked(orientation=axial) == dict.fromkeys(("left", "right", "top", "bottom"), True) | {
        "corner": False,
        "scale": False,
    }
    assert [place for place, drawn in inked(orientation=AS_IT_LIES).items() if drawn] == ["corner"]
    assert not any(inked().values()), "a picture of no patient"
    one, other = (
        overlay(BLACK, None, None, None, question="?", orientation=Orientation(np.array(axes, dtype=float)))
        for axes in ([1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0])
    )
    strip = slice(LONG_SIDE // 2 - 30, LONG_SIDE // 2 + 30)
    first, second = (np.asarray(picture)[strip] for picture in (one, other))
    assert not np.array_equal(first, second), "R and L change places"


@given(st.floats(0.01, 1000))
def test_a_scale_bar_has_the_greatest_round_length_that_fits(longest: float) -> None:
    length = bar_length(longest)
    assert length <= longest < 2.5 * length * (1 + 1e-9)
    assert f"{length:.0e}"[0] in "125"


@pytest.mark.parametrize(("column", "plane"), [(0.8, "patient"), (0.14, "detector")])
def test_a_scale_bar_is_as_long_as_it_says(column: float, plane: str) -> None:
    spacing = Spacing(2 * column, column, plane)  # type: ignore[arg-type]
    picture = Image.new("RGB", (800, 800))
    mark_scale(picture, spacing, columns=400)
    row = np.asarray(picture)[800 - 20]
    drawn = np.flatnonzero((row == row[800 - 30]).all(axis=-1))
    expected = bar_length(0.3 * 400 * column)
    assert np.ptp(drawn) * column / 2 == pytest.approx(expected, abs=2 * column)


def test_a_length_is_said_in_millimetres_or_centimetres_and_where_it_holds() -> None:
    assert bar_text(100, Spacing(1, 1)) == "10 cm" and bar_text(5, Spacing(1, 1)) == "5 mm"
    assert bar_text(0.5, Spacing(1, 1)) == "0.5 mm"
    assert bar_text(20, Spacing(1, 1, "detector")) == "2 cm at detector"


@pytest.mark.parametrize("shape", [(100, 100), (40, 200)])
def test_pixels_that_are_not_square_are_shown_in_the_shape_they_have(shape: tuple[int, int]) -> None:
    image = np.full(shape, 255, np.uint8)
    frame = Frame(shape[1], shape[0], "view")
    mask = np.zeros(shape, dtype=bool)
    mask[10:20, 30:50] = True
    box = Box(30, 10, 50, 20, frame)
    out = overlay(image, mask, box, None, question="?", spacing=Spacing(2.5, 0.5))
    pixels = np.asarray(out).astype(int)
    height = int(np.flatnonzero((pixels[:, out.width // 2] == (22, 24, 28)).all(axis=-1))[0])
    assert height == LONG_SIDE, "the long side, in the patient"
    rows, columns = np.nonzero((pixels == (255, 190, 60)).all(axis=-1))
    assert np.ptp(rows) / np.ptp(columns) == pytest.approx(10 * 2.5 / (20 * 0.5), rel=0.05)


def test_every_flag_is_written() -> None:
    heights = [
        overlay(BLACK, None, None, None, question="?", flags=["The side is unknown."] * count).height
        for count in range(3)
    ]
    assert heights[0] < heights[1] < heights[2]
    flagged = np.asarray(overlay(BLACK, None, None, None, question="?", flags=["The side is unknown."]))
    assert (flagged == (255, 120, 90)).all(axis=-1).any()
