"""Boxes and key points of any mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from medreasoner_monai.task.keypoints import key_points, mask_box

MASKS = array_shapes(min_dims=2, max_dims=2, max_side=24).flatmap(lambda s: arrays(bool, s)).filter(np.any)


@given(MASKS)
def test_points_lie_inside_the_mask(mask: np.ndarray) -> None:
    for x, y in key_points(mask).xy:
        assert mask[int(y), int(x)]


@given(MASKS)
def test_box_is_the_smallest_that_holds_the_mask(mask: np.ndarray) -> None:
    x1, y1, x2, y2 = (int(v) for v in mask_box(mask).xyxy)
    inside = np.zeros_like(mask)
    inside[y1:y2, x1:x2] = True
    assert not (mask & ~inside).any()
    part = mask[y1:y2, x1:x2]
    assert part[0].any() and part[-1].any() and part[:, 0].any() and part[:, -1].any()


@given(MASKS)
def test_shapes_are_in_the_mask_s_frame(mask: np.ndarray) -> None:
    frame = mask_box(mask).frame
    assert (frame.height, frame.width) == mask.shape and key_points(mask).frame == frame


@given(st.integers(12, 40), st.integers(3, 8))
def test_points_of_a_bar_lie_apart_along_it(length: int, thickness: int) -> None:
    mask = np.zeros((20, 50), dtype=bool)
    mask[5 : 5 + thickness, 4 : 4 + length] = True
    (x1, _), (x2, _) = key_points(mask).xy
    assert x1 < x2 and x2 - x1 >= length / 3


def test_points_keep_to_the_largest_part() -> None:
    mask = np.zeros((30, 30), dtype=bool)
    mask[2:12, 2:12] = True
    mask[20:23, 20:23] = True
    assert all(x < 12 and y < 12 for x, y in key_points(mask).xy)


def test_points_of_a_ring_are_not_in_its_hole() -> None:
    y, x = np.mgrid[:41, :41] - 20
    ring = (x**2 + y**2 <= 400) & (x**2 + y**2 >= 200)
    assert all(ring[int(y), int(x)] for x, y in key_points(ring).xy)


def test_single_pixel_has_both_points_in_its_middle() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[2, 3] = True
    assert key_points(mask).xy == ((3.5, 2.5), (3.5, 2.5))
    assert mask_box(mask).xyxy == (3, 2, 4, 3)


def test_empty_mask_has_neither() -> None:
    with pytest.raises(ValueError, match="no box"):
        mask_box(np.zeros((3, 3), dtype=bool))
    with pytest.raises(ValueError, match="no key points"):
        key_points(np.zeros((3, 3), dtype=bool))
