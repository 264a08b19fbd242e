"""Samples and their ids, and the writer that asks by name."""

from __future__ import annotations

import doctest
from dataclasses import replace
from types import ModuleType

import pytest

from medreasoner_monai.data.labelled import Target
from medreasoner_monai.data.writers import answers, words, worlds
from medreasoner_monai.data.writers.absent import Census
from medreasoner_monai.data.writers.answers import chance_of, generator, is_lesion, named_targets, super_category
from medreasoner_monai.data.writers.by_name import NameWriter
from medreasoner_monai.data.writing import build_verifier, build_writer
from medreasoner_monai.settings.data import QuestionSettings
from tests.data.writers.pictures import disc, picture


def test_targets_of_one_name_are_numbered() -> None:
    shown = picture({"liver tumor": disc(20, 20, 8), "liver": disc(40, 40, 30)})
    twice = replace(shown, targets=(*shown.targets, Target("liver tumor", disc(60, 60, 5), "third")))
    assert [name for name, _ in named_targets(twice)] == [
        "made/p1-liver-tumor",
        "made/p1-liver",
        "made/p1-liver-tumor-2",
    ]


def test_asked_by_name_each_target_is_one_sample_as_it_was_outlined() -> None:
    shown = picture({"left kidney": disc(30, 70, 10)}, modality="MRI")
    ((where, sample),) = NameWriter().write(shown)
    assert (where, sample.question, sample.trace) == ("p1_left kidney.png", "Where is the left kidney?", "")
    assert (sample.category, sample.supercategory, sample.modality) == ("left kidney", "Abdomen", "MRI")
    assert sample.box is not None and sample.box.xyxy == (60.0, 20.0, 80.0, 40.0)  # centre 70, 30 and radius 10
    assert sample.group == "patient-p1" and sample.origin == shown.origin


def test_questions_by_name_are_not_held_against_what_implicit_ones_must_be() -> None:
    by_name = QuestionSettings(writer="name")
    assert build_verifier(by_name) is None and build_verifier(QuestionSettings()) is not None
    assert build_writer(by_name, Census()).identity() == {"writer": "name", "version": 1}


@pytest.mark.parametrize(
    ("name", "site", "expected"),
    [("liver", "abdomen", "Abdomen"), ("elbow plica", "arm", "Arm"), ("elbow plica", "", "Other")],
)
def test_a_super_category_is_the_taxonomys_or_the_site(name: str, site: str, expected: str) -> None:
    assert super_category(name, site) == expected


def test_lesions_are_known_by_the_taxonomy_or_their_last_word() -> None:
    assert [is_lesion(name) for name in ("liver tumor", "liver", "elbow tumor", "elbow plica")] == [True, False] * 2


def test_draws_depend_on_their_parts_alone_and_are_even() -> None:
    """The mean of 2000 even numbers is within four standard errors of a half: 4 x 0.289 / sqrt(2000) = 0.026."""
    drawn = [chance_of(7, "source", n) for n in range(2000)]
    assert abs(sum(drawn) / 2000 - 0.5) < 0.026 and len(set(drawn)) == 2000
    assert chance_of(1, "23") != chance_of(12, "3")
    assert generator(1, "a").integers(1000) == generator(1, "a").integers(1000)


@pytest.mark.parametrize("module", [answers, words, worlds])
def test_the_examples_of_the_documentation_hold(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
