"""Sides of the patient are told from places in the picture."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.grounding.claims import claims_of

LEFT, RIGHT, BOTH, NONE = {"left"}, {"right"}, {"left", "right"}, set[str]()


@pytest.mark.parametrize(
    ("text", "sides", "ambiguous"),
    [
        ("Which organ on the patient's left cleans the blood?", LEFT, False),
        ("It lies on the left side of the patient.", LEFT, False),
        ("A large shadow in the right half of the chest", RIGHT, False),
        ("This is the left kidney.", LEFT, False),
        ("This fits the RIGHT LUNG.", RIGHT, False),
        ("A nodule in the left upper lobe.", LEFT, False),
        ("A right-sided effusion", RIGHT, False),
        ("The left lateral ventricle is wide.", LEFT, False),
        ("Fluid in the right lower quadrant", RIGHT, False),
        ("The left and right lungs are clear.", BOTH, False),
        ("the left kidney is smaller than the right kidney", BOTH, False),
        # places in the picture
        ("A large bright structure on the left side of the image.", NONE, False),
        ("In the upper left of the CT slice lies a small area.", NONE, False),
        ("Look at the middle right.", NONE, False),
        ("the slice's left border", NONE, False),
        ("the upper left of the picture. This fits the right kidney.", RIGHT, False),
        # either
        ("What is the smooth oval area on the left behind the ribs?", NONE, True),
        ("It lies right of the spine", NONE, True),
        # names of parts
        ("the left lobe of the liver", NONE, False),
        ("The right hepatic lobe", NONE, False),
        ("the right ventricle of the heart and the left atrium", NONE, False),
        # denied
        ("This is not the left kidney.", NONE, False),
        ("This is not the left kidney but the right kidney.", RIGHT, False),
        ("no left-sided effusion", NONE, False),
        # no sides at all
        ("a bright area; the copyright is ours, and leftovers remain", NONE, False),
        ("", NONE, False),
    ],
)
def test_what_a_text_claims(text: str, sides: set[str], ambiguous: bool) -> None:
    claims = claims_of(text)
    assert (set(claims.sides), claims.ambiguous) == (sides, ambiguous)
    assert claims.only == (next(iter(sides)) if len(sides) == 1 else None)


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    claims = claims_of(text)
    if "left" not in text.lower():
        assert "left" not in claims.sides


@given(st.sampled_from(["left", "right"]), st.sampled_from(["kidney", "lung", "lower lobe", "breast", "hip"]))
def test_exchanging_the_words_exchanges_the_sides(side: str, part: str) -> None:
    other = {"left": "right", "right": "left"}[side]
    text = "In the upper {0} of the picture lies the {0} {1}, the patient's {0}."
    assert claims_of(text.format(side, part)).only == side and claims_of(text.format(other, part)).only == other
