"""Fingerprints and likeness, against other libraries' transforms and by what must not change them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.fft import dctn

from medreasoner_monai.data.fingerprints import (
    FIELDS,
    SIDE,
    Fingerprint,
    Fingerprinter,
    inner_part,
    look,
    mirrored,
    perceptual_hash,
    question_digest,
    to_gray,
)
from medreasoner_monai.data.likeness import SAME, likeness
from medreasoner_monai.data.near_hashes import RADIUS
from medreasoner_monai.data.phantoms import render
from tests.samples import absent_sample, sample


@given(st.integers(0, 10_000))
def test_hash_bits_are_signs_of_scipys_cosine_transform(seed: int) -> None:
    # 32 x 32, so that nothing is resized.
    values = np.random.default_rng(seed).uniform(0, 255, (32, 32)).astype(np.float32)
    low = dctn(values.astype(float), norm="ortho")[:8, :8].ravel()
    above = low - np.median(low[1:])
    bits = f"{perceptual_hash(values):064b}"
    assert all((bit == "1") == (v > 0) for bit, v in zip(bits, above, strict=True) if abs(v) > 1e-3)


@given(st.integers(0, 200), st.floats(0.3, 1.0), st.floats(0, 60))
def test_brightness_and_contrast_change_hash_and_likeness_little(seed: int, contrast: float, brightness: float) -> None:
    image = render("chest_xray", seed % 5).image
    changed = np.clip(image * contrast + brightness, 0, 255).astype(np.uint8)
    if image.max() * contrast + brightness > 255:
        return  # clipped: another picture
    a, b = look(image), look(changed)
    assert (a.whole ^ b.whole).bit_count() <= 6
    assert likeness(a, b) >= SAME


def test_likeness_is_symmetric_enough_and_one_for_itself() -> None:
    a, b = (look(render("ct_abdomen", n).image) for n in (1, 2))
    assert likeness(a, a) == pytest.approx(1)
    assert likeness(a, b) == pytest.approx(likeness(b, a), abs=0.1) and likeness(a, b) < SAME


@pytest.mark.parametrize("margin", [(5, 0, 9, 3), (0, 0, 0, 0), (20, 20, 1, 1)])
def test_inner_part_is_what_was_put_into_a_border(margin: tuple[int, int, int, int]) -> None:
    top, bottom, left, right = margin
    inside = np.random.default_rng(0).uniform(100, 255, (50, 40)).astype(np.float32)
    framed = np.pad(inside, ((top, bottom), (left, right)))
    assert inner_part(framed) == (top, top + 50, left, left + 40)
    assert look(framed).inner == look(inside).inner


@pytest.mark.parametrize("size", [(192, 256), (97, 331), (40, 40)])
def test_a_mirrored_look_is_that_of_the_mirrored_picture(size: tuple[int, int]) -> None:
    image = np.asarray(cv2.resize(render("ct_abdomen", 3).image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    made, expected = mirrored(look(image)), look(np.ascontiguousarray(image[:, ::-1]))
    assert np.abs(made.pixels - expected.pixels).max() <= 1
    assert (made.whole ^ expected.whole).bit_count() <= 4 and (made.inner ^ expected.inner).bit_count() <= RADIUS
    assert mirrored(made).thumb == look(image).thumb


def test_stored_values_of_any_depth_look_as_their_picture_does() -> None:
    image = render("ct_abdomen", 1).image
    a = look(image)
    for values in (image.astype(np.int16) * 16 - 1024, image.astype(np.uint16) * 200, image.astype(float) / 7):
        assert likeness(a, look(values)) >= SAME
    assert np.all(to_gray(np.full((4, 4), np.nan)) == 0)


def test_two_windows_of_a_slice_are_one_by_their_stored_values() -> None:
    values = render("ct_abdomen", 1).image.astype(np.int16) * 8 - 1000
    soft, wide = (
        np.clip((values - low) / width * 255, 0, 255).astype(np.uint8) for low, width in ((0, 300), (-900, 1800))
    )
    take = Fingerprinter().take
    a, b = take(sample(0, image=soft[:40, :60]), values), take(sample(1, image=wide[:40, :60]), values)
    assert a.picture != b.picture and a.looks[1] == b.looks[1]


def test_looks_are_taken_once_for_a_picture_asked_about_in_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    monkeypatch.setattr("medreasoner_monai.data.fingerprints.look", lambda pixels: taken.append(pixels) or look(pixels))
    prints = Fingerprinter()
    first = prints.take(sample(0))
    assert prints.take(sample(0, question="Another?")).looks == first.looks and len(taken) == 1
    assert prints.take(sample(1)).looks != first.looks and len(taken) == 2


def test_columns_come_back() -> None:
    for made in (sample(0), absent_sample(1)):
        found = Fingerprinter().take(made)
        assert set(found.columns()) == {f.name for f in FIELDS}
        assert Fingerprint.from_columns(found.columns()) == found
    assert found.mask is None and len(found.looks[0].thumb) == SIDE * SIDE


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ("Where is the liver?", "where is  the LIVER", True),
        ("Wo ist die Größe?", "wo ist die GRÖSSE", True),
        ("left or right", "leftor right", False),
    ],
)
def test_questions_are_the_same_whatever_case_and_punctuation(a: str, b: str, same: bool) -> None:
    assert (question_digest(a) == question_digest(b)) == same
