"""What is measured of an outline, against shapes whose measures are known."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from medreasoner_monai.data import describe as module
from medreasoner_monai.data.describe import Neighbour, count_parts, describe, patient_side, place_words, shape_word
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import SourceRef
from tests.data.writers.pictures import SIDE, disc, picture

Mask = NDArray[np.bool_]


def box(top: int, left: int, height: int, width: int) -> Mask:
    mask = np.zeros((SIDE, SIDE), dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


@pytest.mark.parametrize(
    ("mask", "word"),
    [
        (disc(48, 48, 20), "round"),
        (box(40, 10, 8, 60), "elongated"),  # axes as 8 to 60
        (disc(48, 48, 20) & ~disc(48, 48, 12), "ring-shaped"),  # the hole is 0.36 of the disc
        (disc(48, 48, 20) & ~disc(48, 48, 4), "round"),  # 0.04 of it is not
        (box(10, 10, 60, 10) | box(60, 10, 10, 60), "irregular"),  # an L fills half its hull
        (box(30, 20, 24, 40), ""),  # 0.6: neither long nor round
        (box(5, 5, 1, 1), ""),
    ],
)
def test_shapes_are_called_what_they_are(mask: Mask, word: str) -> None:
    assert shape_word(mask) == word


@settings(max_examples=40, deadline=None)
@given(radius=st.integers(6, 40), scale=st.integers(1, 6))
def test_a_disc_is_round_at_any_size(radius: int, scale: int) -> None:
    side = 96 * scale
    assert shape_word(disc(side / 2, side / 2, radius * scale, side)) == "round"


def test_parts_are_counted_without_crumbs() -> None:
    """Areas by hand: 400 px, 100 px, and 16 px, which are less than 5 % of 400."""
    assert count_parts(box(0, 0, 20, 20) | box(40, 40, 10, 10) | box(70, 70, 4, 4)) == 2
    assert count_parts(box(0, 0, 20, 20) | box(20, 20, 20, 20)) == 1  # corner to corner
    assert count_parts(np.zeros((4, 4), dtype=bool)) == 0


@given(
    x=st.floats(0, 99),
    y=st.floats(0, 99),
    width=st.floats(0.5, 1),
    height=st.floats(0.5, 1),
    cols=st.integers(100, 900),
)
def test_places_are_thirds(x: float, y: float, width: float, height: float, cols: int) -> None:
    word = place_words((x, y, x + width, y + height), (100, cols))
    rows = ("upper", "middle", "lower")[int(3 * (y + height / 2) / 100)]
    columns = ("left", "centre", "right")[int(3 * (x + width / 2) / cols)]
    assert word == f"{rows} {columns}".replace("middle centre", "centre")


@pytest.mark.parametrize(
    ("left", "column", "side"),
    [
        ("right", 10, "right"),  # radiological: the patient's right on the picture's left
        ("right", 90, "left"),
        ("left", 10, "left"),  # neurological
        ("left", 90, "right"),
        ("right", 45, ""),
        ("", 10, ""),
        ("anterior", 10, ""),  # sagittal
    ],
)
def test_sides_are_the_patients(left: str, column: float, side: str) -> None:
    assert patient_side(left, column, 100) == side


@given(column=st.floats(0, 100), left=st.sampled_from(["left", "right"]))
def test_a_mirrored_picture_has_the_same_side(column: float, left: str) -> None:
    other = {"left": "right", "right": "left"}[left]
    assert patient_side(left, column, 100) == patient_side(other, 100 - column, 100)


def seen(masks: dict[str, Mask], image: NDArray[np.uint8] | None = None, left: str = "") -> module.Description:
    made = picture(masks, left=left)
    if image is not None:
        made = LabelledImage("p", image, made.targets, "CT", "abdomen", "g", SourceRef("s", "p", left=left))
    return describe(made, made.targets[0])


def test_brightness_is_against_the_surroundings_and_the_whole_picture() -> None:
    """A gray disc of 100 in a dark band of 50, in a bright picture of 220."""
    image = np.full((SIDE, SIDE), 220, dtype=np.uint8)
    image[disc(48, 48, 30)] = 50
    image[disc(48, 48, 12)] = 100
    found = seen({"spot": disc(48, 48, 12)}, image)
    assert (found.brightness, found.level) == ("brighter than", "darker than")
    same = seen({"spot": disc(48, 48, 12)}, np.full((SIDE, SIDE), 100, dtype=np.uint8))
    assert (same.brightness, same.level, same.texture) == ("as bright as", "as bright as", "")


def test_a_lesion_is_compared_with_its_organ_alone() -> None:
    """At the organ's edge: darker than the organ of 150, though brighter than the black around it."""
    image = np.zeros((SIDE, SIDE), dtype=np.uint8)
    organ, lesion = disc(48, 48, 30), disc(48, 22, 4)
    image[organ], image[lesion] = 150, 100
    assert seen({"tumor": lesion, "liver": organ}, image).brightness == "darker than"
    assert seen({"tumor": lesion}, image & np.where(organ & ~lesion, 0, 255).astype(np.uint8)).brightness == (
        "brighter than"
    )


def test_texture_is_the_spread_inside_against_that_of_the_picture() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (SIDE, SIDE), dtype=np.uint8)
    assert seen({"spot": disc(48, 48, 20)}, image).texture == "mottled"
    image[disc(48, 48, 20)] = 128
    assert seen({"spot": disc(48, 48, 20)}, image).texture == "even"


def test_symmetry_is_about_the_pictures_middle() -> None:
    assert seen({"both": disc(48, 20, 10) | disc(48, 76, 10)}).symmetric
    assert not seen({"one": disc(48, 20, 10)}).symmetric


def test_size_and_share_are_of_the_pictures_area() -> None:
    for mask, word, share in ((box(0, 0, 10, 18), "small", 180), (box(0, 0, 20, 20), "medium", 400)):
        found = seen({"one": mask})
        assert found.size == word and found.share == pytest.approx(share / SIDE**2)  # 2.0 % is 184 px, 8 % is 737
    assert seen({"one": box(0, 0, 30, 30)}).size == "large"


def test_neighbours_are_named_as_seen_in_the_picture_nearest_first() -> None:
    found = seen(
        {
            "liver": disc(48, 48, 10),
            "spleen": disc(48, 75, 8),  # 9 px to the right
            "aorta": disc(66, 48, 5),  # 3 px below
            "tumor": disc(48, 48, 3),
            "body": disc(48, 48, 40),
            "far": disc(5, 5, 3),
        }
    )
    assert found.neighbours == (
        Neighbour("inside", "tumor"),
        Neighbour("around", "body"),
        Neighbour("below", "aorta"),
        Neighbour("right of", "spleen"),
    )


def test_a_speck_in_a_huge_picture_is_described_and_an_empty_mask_is_not() -> None:
    mask = np.zeros((2000, 1500), dtype=bool)
    mask[1999, 1499] = True
    shown = LabelledImage("p", np.zeros((2000, 1500, 3), np.uint8), (), "", "", "g", SourceRef("s", "p"))
    assert describe(shown, Target("speck", mask, "")).place == "lower right"
    with pytest.raises(ValueError, match="empty"):
        describe(shown, Target("nothing", np.zeros_like(mask), ""))


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(module).failed == 0
