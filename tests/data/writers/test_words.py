"""The words that questions are made of: all of them, and what a file of them must not be."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medreasoner_monai.data.readability import grade
from medreasoner_monai.data.targets import targets_in
from medreasoner_monai.data.verify import place_fault, question_fault, side_fault
from medreasoner_monai.data.writers.answers import absent_sample
from medreasoner_monai.data.writers.forms import hinted_questions
from medreasoner_monai.data.writers.words import Words, in_number, load_words, read_words, words_of
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.settings.data import QuestionSettings
from medreasoner_monai.task.taxonomy import Category, resolve
from tests.data.writers.pictures import picture

REAL = Path(__file__).parents[4] / "shared" / "data" / "real_sets"
EMPTY = picture({})


def concept(name: str) -> Category:
    """Of a name, or of its left one where only sides have a name."""
    found = resolve(name) or resolve(f"left {name}") or resolve(f"right {name}")
    assert found is not None, f"{name}: the taxonomy knows neither it nor its sides"
    return found


def ways(name: str, words: Words) -> Iterator[tuple[str, str, bool]]:
    """Target's name, side and number in which a concept may be asked for."""
    sides = [side for side in ("left", "right") if resolve(f"{side} {name}") and f"{side} {name}" not in load_words()]
    for side in ("", *sides):
        numbers = {"one": [False], "many": [True], "parts": [False] if side else [False, True]}[words.number]
        yield from ((f"{side} {name}".strip(), side, several) for several in numbers)


def test_every_question_of_every_concept_may_be_asked_and_names_nothing() -> None:
    asked = 0
    limit = QuestionSettings().max_grade
    for name, words in load_words().items():
        known = concept(name)
        names = re.compile("|".join(rf"\b{re.escape(s)}(?:s|es)?\b" for s in (name, known.name, *known.synonyms)))
        for target, side, several in ways(name, words):
            made = hinted_questions(words, side, several)
            assert len(made) == len(set(made)) >= 12, f"{target}: {len(made)} questions"
            for question in made:
                sample = absent_sample(EMPTY, target, "abdomen", "s", question, "", "other part")
                fault = question_fault(EMPTY, sample) or place_fault(EMPTY, sample) or side_fault(EMPTY, sample)
                assert fault is None, f"{target}: {question} {fault}"
                assert not names.search(question.lower()), f"{target}: {question}"
                assert question[0].isupper() and question.endswith("?") and not set("[|]{}") & set(question), question
                assert grade(question) <= limit, question
                asked += 1
    assert asked > 10_000


def test_every_super_category_can_be_asked_for_in_a_dozen_ways() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for name, words in load_words().items():
        found[concept(name).super_category] |= set(hinted_questions(words, "", words.number == "many"))
    assert len(found) == 15 and min(len(questions) for questions in found.values()) >= 12


def test_no_two_hints_of_a_concept_are_alike() -> None:
    for name, words in load_words().items():
        assert len({hint.lower() for hint in words.hints}) == len(words.hints), name
        assert len(set(words.nouns)) == len(words.nouns), name
        for hint in words.hints:
            assert not hint.endswith((".", "?")) and hint[0] != " ", (name, hint)


@pytest.mark.parametrize(
    ("name", "site", "key", "side"),
    [
        ("liver", "abdomen", "liver", ""),
        ("left kidney", "abdomen", "kidney", "left"),
        ("kidney right", "", "kidney", "right"),
        ("tumor", "breast", "breast tumor", ""),  # with the site first
        ("left heart ventricle", "heart", "left heart ventricle", ""),  # its side is part of its name
        ("inferior vena cava", "", "postcava", ""),
        ("hepatic tumour", "abdomen", "liver tumor", ""),  # what the taxonomy calls it
        ("kidney_left", "", "kidney", "left"),
    ],
)
def test_words_are_found_by_name_site_and_side(name: str, site: str, key: str, side: str) -> None:
    found = words_of(name, site)
    assert found is not None and (found[0].key, found[1]) == (key, side)


def test_what_nobody_knows_has_no_words() -> None:
    assert words_of("elbow plica", "arm") is None


@pytest.mark.skipif(not REAL.is_dir(), reason="the real sets are not beside the project")
def test_every_target_of_the_real_sets_has_words() -> None:
    assert [t for t in targets_in(REAL) if words_of(t.name, t.site) is None] == []


def test_a_text_is_put_into_one_of_its_numbers() -> None:
    text = "gray nucle[us|i] that [borders|border] the horn"
    assert in_number(text, several=False) == "gray nucleus that borders the horn"
    assert in_number(text, several=True) == "gray nuclei that border the horn"


GOOD = """
worlds: [trunk]
concepts:
  liver:
    noun: [organ]
    does: [makes bile, stores sugar, clears drugs, fills the space beneath the diaphragm]
  hepar: {same: liver}
"""


def write(folder: Path, text: str, name: str = "some.yaml") -> Path:
    (folder / name).write_text(text)
    return folder


def test_a_file_is_read(tmp_path: Path) -> None:
    made = read_words(write(tmp_path, GOOD))
    assert made["liver"] is made["hepar"] and made["liver"].number == "one"
    assert (made["liver"].nouns, made["liver"].worlds) == (("organ",), frozenset({"trunk"}))
    assert replace(made["liver"], key="x") != made["liver"]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("noun: [organ]", "nouns: [organ]", "some.yaml, liver: unknown nouns; known are asks, does"),
        ("clears drugs, ", "", "some.yaml, liver: needs a noun and at least 4 hints under does, found 3"),
        ("noun: [organ]", "noun: []", "some.yaml, liver: needs a noun"),
        ("noun: [organ]", "noun: organ", "some.yaml, liver: noun is a list of texts, found 'organ'"),
        ("[makes bile", "[7", "some.yaml, liver: does is a list of texts"),
        ("[makes bile", '["[makes|make bile"', "some.yaml, liver: .* two numbers as .one.several."),
        ("[makes bile", '["[makes] bile"', "some.yaml, liver: .* two numbers as .one.several."),
        ("noun: [organ]", "noun: [organ]\n    number: two", "some.yaml, liver: number is one, many or parts"),
        (
            "noun: [organ]",
            "noun: [organ]\n    worlds: [tunk]",
            "some.yaml, liver: unknown world tunk; known are",
        ),
        ("worlds: [trunk]", "worlds: trunk", "some.yaml: worlds is a list of texts"),
        ("{same: liver}", "{same: livre}", "some.yaml, hepar: no concept 'livre' .* Did you mean 'liver'"),
        ("{same: liver}", "{same: hepar}", "some.yaml, hepar: 'hepar' is itself the same as another"),
        ("{same: liver}", "{same: jecur}\n  jecur: {same: hepar}", "some.yaml, hepar: 'jecur' is itself the same"),
        ("{same: liver}", "{same: liver, asks: [Where?]}", "some.yaml, hepar: same stands alone; asks would be lost"),
        ("hepar: {same: liver}", "hepar:", "some.yaml, hepar: expected noun and does, or same, found None"),
        ("hepar:", "liver:", "some.yaml, line 7: 'liver' stands here a second time"),
        ("concepts:", "concept:", "some.yaml: expected worlds and concepts, found worlds, concept"),
        ("[makes bile", "[makes bile]]", "some.yaml, line 6: not YAML"),
    ],
)
def test_a_fault_is_told_by_file_and_concept(tmp_path: Path, old: str, new: str, told: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError, match=told):
        read_words(write(tmp_path, GOOD.replace(old, new)))


def test_a_concept_of_two_files_is_told(tmp_path: Path) -> None:
    write(tmp_path, GOOD, "a.yaml")
    write(tmp_path, GOOD.replace("hepar: {same: liver}", ""), "b.yaml")
    with pytest.raises(ConfigError, match=r"b.yaml, liver: the concept is described twice"):
        read_words(tmp_path)
