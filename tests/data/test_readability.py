"""Reading grades against sums done by hand."""

from __future__ import annotations

import doctest

import pytest

from medreasoner_monai.data import readability
from medreasoner_monai.data.readability import grade, syllables


@pytest.mark.parametrize(
    ("text", "words", "sentences", "spoken"),
    [
        ("The cat sat on the mat.", 6, 1, 6),
        ("Which organ makes urine?", 4, 1, 6),  # which or-gan makes ur-ine
        ("Which organ stores bile between meals?", 6, 1, 8),  # or-gan, be-tween
        ("It filters blood. It lies deep. Where is it?", 9, 3, 10),  # fil-ters
        ("Where is the gland that makes insulin and digestive enzymes?", 10, 1, 15),  # in-su-lin di-ges-tive en-zymes
    ],
)
def test_grades_are_those_of_the_formula(text: str, words: int, sentences: int, spoken: int) -> None:
    """Kincaid et al. 1975, syllables counted aloud."""
    assert grade(text) == pytest.approx(0.39 * words / sentences + 11.8 * spoken / words - 15.59)


@pytest.mark.parametrize(
    ("spoken", "words"),
    [
        (1, "bile makes lies filled moved whole the see freed"),
        (2, "muscle muscles organ causes bulges reaches counted carries carried settled handled little kidney"),
        (3, "abdomen arteries digestive glandular"),
        (4, "capillaries ability hypertrophic"),
    ],
)
def test_syllables_are_counted_as_they_are_spoken(spoken: int, words: str) -> None:
    assert {word: syllables(word) for word in words.split()} == dict.fromkeys(words.split(), spoken)


def test_a_text_without_words_has_grade_0_and_long_words_weigh_more() -> None:
    assert grade("") == grade("123 ?!") == 0
    assert grade("Which lesion demonstrates hypervascularisation?") > grade("Which spot has too many vessels?") + 5


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(readability).failed == 0
