"""Views of training pictures: picture, mask, box and points move together, and the texts stay true."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data.describe import place_words, size_word
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.task.keypoints import mask_box
from medreasoner_monai.training.augment import Change, recolour, shrunk, view, views
from tests.samples import absent_sample, sample

STRONG = AugmentSettings(zoom=1.5, shift=0.3, turn=20, contrast=0.4, brightness=0.2, noise=0.1)


@given(st.floats(-30, 30), st.floats(0.7, 1.4), st.floats(-0.2, 0.2), st.floats(-0.2, 0.2))
def test_a_change_is_the_affine_map_it_says(turn: float, zoom: float, right: float, down: float) -> None:
    rows, cols = 80, 120
    mask = np.zeros((rows, cols), dtype=bool)
    mask[30:44, 50:74] = True
    moved = Change(turn, zoom, (right, down)).mask(mask)
    # OpenCV's rotation is anticlockwise for positive angles; pixel centres lie at whole numbers there.
    matrix = cv2.getRotationMatrix2D(((cols - 1) / 2, (rows - 1) / 2), -turn, zoom)
    matrix[:, 2] = matrix[:, 2] + (right * cols, down * rows)
    expected = cv2.warpAffine(mask.astype(np.float32), matrix, (cols, rows), flags=cv2.INTER_LINEAR) > 0.5
    both = (moved & expected).sum() * 2 / max(1, moved.sum() + expected.sum())
    assert both > 0.93 or expected.sum() < 40


def test_what_is_bright_stays_under_its_mask() -> None:
    shown = sample(3)
    for seed in range(20):
        other = view(shown, STRONG, np.random.default_rng(seed), worded=False)
        inside, outside = other.image[other.mask].mean(), other.image[~other.mask].mean()
        assert inside > outside
        assert other.box == mask_box(other.mask) and other.image.shape == shown.image.shape


@given(st.integers(0, 10_000), st.integers(0, 30))
def test_the_words_of_a_trace_stay_true(seed: int, number: int) -> None:
    shown = sample(number)
    other = view(shown, STRONG, np.random.default_rng(seed), worded=True)
    assert shown.box is not None and other.box is not None
    assert place_words(shown.box.xyxy, (40, 60)) == place_words(other.box.xyxy, (40, 60))
    assert size_word(float(shown.mask.mean())) == size_word(float(other.mask.mean()))


def test_targets_of_one_picture_move_together() -> None:
    one = sample(3)
    outside = replace(one, category="outside", mask=~one.mask)
    for seed in range(10):
        first, second = views([one, outside], STRONG, np.random.default_rng(seed), worded=False)
        assert first.image is second.image and not (first.mask & second.mask).any()


def test_views_differ_and_a_number_gives_the_same_again() -> None:
    shown = sample(1)
    first, again, other = (view(shown, STRONG, np.random.default_rng(n), worded=True) for n in (1, 1, 2))
    assert np.array_equal(first.image, again.image) and first.box == again.box
    assert not np.array_equal(first.image, other.image)


def test_sides_are_never_exchanged() -> None:
    image = np.zeros((60, 60), dtype=np.uint8)
    image[:, 40:] = 200  # bright on the right
    for seed in range(50):
        change = Change.draw(AugmentSettings(), np.random.default_rng(seed))
        moved = change.image(image)
        assert moved[:, 45:].mean() > moved[:, :15].mean()


def test_an_absent_target_stays_absent() -> None:
    other = view(absent_sample(1), STRONG, np.random.default_rng(0), worded=True)
    assert not other.present and not other.mask.any()


def test_colour_stays_colour_and_in_range() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    changed = recolour(image, STRONG, np.random.default_rng(1))
    assert changed.shape == image.shape and changed.dtype == np.uint8 and not np.array_equal(changed, image)
    assert np.array_equal(
        recolour(image, AugmentSettings(contrast=0, brightness=0, noise=0), np.random.default_rng(1)), image
    )


@pytest.mark.parametrize("size", [1, 3])
def test_a_target_however_small_survives_shrinking(size: int) -> None:
    image, mask = np.zeros((400, 600), dtype=np.uint8), np.zeros((400, 600), dtype=bool)
    mask[100 : 100 + size, 200 : 200 + size] = True
    made = shrunk(sample(0, image=image, mask=mask, box=mask_box(mask)), 100)
    assert made.image.shape == made.mask.shape == (67, 100) and made.mask.any()
