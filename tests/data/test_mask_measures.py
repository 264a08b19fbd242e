"""Measures of masks, against figures by hand and against SciPy and scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage, stats

from medreasoner_monai.data.mask_measures import MaskMeasures, grey_range, kolmogorov_smirnov, overlap

GREY = np.zeros((40, 60), dtype=np.uint8)
MASKS = arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14))).filter(lambda mask: bool(mask.any()))
VALUES = arrays(np.uint8, st.integers(1, 60))


def square(top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[top : top + side, left : left + side] = True
    return mask


@given(VALUES, VALUES)
def test_contrast_is_scipys_kolmogorov_smirnov_statistic(first: np.ndarray, second: np.ndarray) -> None:
    expected = stats.ks_2samp(first, second, method="exact").statistic
    assert kolmogorov_smirnov(first, second) == pytest.approx(expected, abs=1e-12)


@given(MASKS)
def test_parts_are_those_of_scipy(mask: np.ndarray) -> None:
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = sorted(np.bincount(labels.ravel())[1:], reverse=True)
    measured = MaskMeasures(mask, mask.astype(np.uint8))
    assert measured.parts.tolist() == sizes and len(sizes) == count
    assert measured.largest == pytest.approx(sizes[0] / mask.sum())


@given(MASKS)
def test_the_outline_on_the_border_is_counted_pixel_by_pixel(mask: np.ndarray) -> None:
    rows, cols = mask.shape
    outline = border = 0
    for row, col in zip(*np.nonzero(mask), strict=True):
        around = [(row + dr, col + dc) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]
        inside = [0 <= r < rows and 0 <= c < cols for r, c in around]
        if all(i and mask[r, c] for i, (r, c) in zip(inside, around, strict=True)):
            continue
        outline += 1
        border += not all(inside)
    assert MaskMeasures(mask, mask.astype(np.uint8)).border == pytest.approx(border / outline)


def test_a_square_in_the_corner_has_seven_of_its_twelve_outline_pixels_on_the_border() -> None:
    assert MaskMeasures(square(0, 0, 4), GREY).border == pytest.approx(7 / 12)
    assert MaskMeasures(square(10, 10, 4), GREY).border == 0


def test_size_in_the_picture_a_model_sees() -> None:
    measured = MaskMeasures(square(10, 10, 12), GREY)  # of 60 x 40
    assert measured.at(30) == (36, 6)
    assert measured.at(600) == (144, 12), "a small picture is not enlarged"


def test_contrast_sees_brightness_texture_and_colour() -> None:
    rng = np.random.default_rng(0)
    mask = square(10, 20, 16)
    noise = rng.integers(90, 110, (40, 60)).astype(np.uint8)
    assert (MaskMeasures(mask, noise).contrast or 0) < 0.1
    brighter = np.where(mask, noise + 60, noise).astype(np.uint8)
    assert MaskMeasures(mask, brighter).contrast == 1
    coarse = np.where(mask & (rng.random((40, 60)) < 0.5), 60, np.where(mask, 140, noise)).astype(np.uint8)
    assert abs(float(coarse[mask].mean()) - 100) < 5, "as bright as the noise around it"
    assert (MaskMeasures(mask, coarse).contrast or 0) > 0.4
    blue = np.stack([noise, noise, brighter], axis=2)
    assert MaskMeasures(mask, blue).contrast == 1


def test_a_mask_of_the_whole_picture_has_nothing_around_it() -> None:
    assert MaskMeasures(np.ones((40, 60), dtype=bool), GREY).contrast is None


def test_a_few_bright_pixels_do_not_make_a_range() -> None:
    image = np.full((40, 60), 7, dtype=np.uint8)
    image[0, :10] = 255
    assert grey_range(image) == 0
    image[:10] = 107
    assert grey_range(image) == 100


@given(arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.sampled_from([1, 3]))))
def test_the_range_is_numpys(image: np.ndarray) -> None:
    low, high = np.percentile(image, (1, 99), method="inverted_cdf")
    assert grey_range(image) == float(high) - float(low)


def test_overlap_of_two_squares_by_hand() -> None:
    assert overlap(square(0, 0, 4), square(0, 2, 4)) == pytest.approx(8 / 24)
