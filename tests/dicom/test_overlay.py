"""The picture of an answer."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.dicom.overlay import LONG_SIDE, overlay
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
