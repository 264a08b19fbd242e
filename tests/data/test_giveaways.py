"""What names a target in a question, and what does not."""

from __future__ import annotations

import doctest

import pytest

from medreasoner_monai.data import giveaways
from medreasoner_monai.data.giveaways import named_in
from medreasoner_monai.data.writers.words import load_words
from medreasoner_monai.task.taxonomy import TAXONOMY


@pytest.mark.parametrize(
    ("question", "target"),
    [
        ("Where is the liver?", "liver"),
        ("Which Hepatic segment is bright?", "liver"),
        ("Which organs of the renal system are shown?", "left kidney"),
        ("Which kidneys are shown?", "kidney"),
        ("Where do the vertebral bodies lie?", "vertebrae"),
        ("Which splenic border is seen?", "spleen"),
        ("Where is the womb?", "uterus"),
        ("Where is the collarbone?", "clavicula"),  # a spelling that the taxonomy resolves
        ("Where is the IVC?", "postcava"),
        ("Where is a malignant tumour?", "cancer"),
        ("Which nuclear region is dark?", "nuclei"),
        ("Where is the elbow plica?", "elbow plica"),  # a concept that nobody knows
    ],
)
def test_names_synonyms_and_stems_are_found(question: str, target: str) -> None:
    assert named_in(question, target)


@pytest.mark.parametrize(
    ("question", "target"),
    [
        ("Which organ on the patient's left makes urine?", "left kidney"),
        ("Where is bile stored between meals?", "gallbladder"),
        ("Which large structure lies in the upper part?", "upper lung lobe"),
        ("Where would a children's doctor look?", "right kidney"),  # "ren" does not begin a word
        ("What delivers blood to the body?", "liver"),
    ],
)
def test_what_only_looks_like_a_name_is_let_through(question: str, target: str) -> None:
    assert named_in(question, target) == ""


def test_no_concept_can_be_asked_for_by_any_of_its_names() -> None:
    """Of the taxonomy and of the words: name, synonyms, and the name in capitals."""
    for name in {*TAXONOMY, *load_words()}:
        known = TAXONOMY.get(name)
        for spelling in (name, name.upper(), *(known.synonyms if known else ())):
            assert named_in(f"Where in the picture is the {spelling}?", name), (name, spelling)


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(giveaways).failed == 0
