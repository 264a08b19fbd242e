from __future__ import annotations

import numpy as np
import pytest

from medreasoner_monai.segmenters.baselines import EllipseInBox, WholeBox
from medreasoner_monai.segmenters.protocol import Mask, Prompt
from medreasoner_monai.task.geometry import Box, Frame, Points

FRAME = Frame(60, 40)
BLANK = np.zeros((40, 60), np.uint8)


def mask_of(segmenter: WholeBox | EllipseInBox, prompt: Prompt) -> Mask:
    (mask,) = segmenter.segment(segmenter.embed(BLANK), [prompt])
    return mask


def test_the_whole_box_is_its_pixels():
    mask = mask_of(WholeBox(), Prompt(Box(10, 5, 30, 15, FRAME)))

    assert mask[5:15, 10:30].all() and mask.sum() == 200


def test_the_ellipse_touches_all_four_sides():
    mask = mask_of(EllipseInBox(), Prompt(Box(10, 5, 30, 15, FRAME)))

    rows, cols = np.nonzero(mask)
    assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == (10, 5, 30, 15)
    assert mask.sum() == pytest.approx(np.pi / 4 * 200, rel=0.05)


def test_points_alone_are_the_ends_of_a_diameter():
    prompt = Prompt(points=Points((20, 20), (40, 20), FRAME))

    assert mask_of(EllipseInBox(), prompt).sum() == pytest.approx(np.pi * 100, rel=0.02)
    assert mask_of(WholeBox(), prompt).sum() == 400


def test_a_box_with_points_is_the_box():
    box = Box(10, 5, 30, 15, FRAME)
    both = Prompt(box, Points((12, 8), (20, 9), FRAME))

    np.testing.assert_array_equal(mask_of(EllipseInBox(), both), mask_of(EllipseInBox(), Prompt(box)))
