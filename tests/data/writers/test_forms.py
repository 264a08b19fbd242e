"""Sentences of questions and traces, read as they stand."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

from medreasoner_monai.data.describe import Description, describe
from medreasoner_monai.data.writers import forms
from medreasoner_monai.data.writers.apart import Apart
from medreasoner_monai.data.writers.forms import (
    absent_trace_text,
    hinted_questions,
    measured_questions,
    trace_text,
    view_words,
)
from medreasoner_monai.data.writers.words import words_of
from medreasoner_monai.task.naming import conclude
from tests.data.writers.pictures import disc, picture

KIDNEY = words_of("kidney")


def seen_of(mask: np.ndarray, bright: int = 200) -> Description:
    shown = picture({"thing": mask}, bright=bright)
    return describe(shown, shown.targets[0])


def test_questions_hold_number_side_and_rank_where_they_belong() -> None:
    assert KIDNEY is not None
    one = hinted_questions(KIDNEY[0], "", several=False)
    assert {"Which organ makes urine?", "Where is the bean-shaped organ that makes urine?"} <= set(one)
    two = hinted_questions(KIDNEY[0], "", several=True)
    assert {"Which organs make urine?", "Where are the organs that make urine?"} <= set(two)
    sided = hinted_questions(KIDNEY[0], "left", several=False)
    assert "Which organ on the patient's left makes urine?" in sided
    placed = hinted_questions(KIDNEY[0], "", several=False, apart=Apart(behind="in the upper left of the picture"))
    assert "Which organ in the upper left of the picture makes urine?" in placed
    ranked = hinted_questions(KIDNEY[0], "", several=False, apart=Apart("larger", "in the picture"))
    assert "Which is the larger organ in the picture that makes urine?" in ranked
    assert all("larger" in question for question in ranked)


def test_whole_questions_are_left_out_where_they_could_not_tell_apart() -> None:
    found = words_of("liver")
    assert found is not None
    whole = "Where would cirrhosis make the surface knobbly?"
    assert whole in hinted_questions(found[0], "", several=False)
    assert whole not in hinted_questions(found[0], "", several=False, apart=Apart("larger"))


def test_what_has_no_words_is_asked_for_by_its_looks() -> None:
    made = measured_questions(seen_of(disc(20, 20, 10)), "", Apart(), lesion=False)
    assert len(set(made)) == 12
    assert "Which bright structure lies in the upper left of the picture?" in made
    assert "Where is the bright structure in the upper left?" in made
    assert all("upper left" in question for question in made)
    lesion = measured_questions(seen_of(disc(20, 20, 10), bright=30), "", Apart(), lesion=True)
    assert "Which dark abnormal area lies in the upper left of the picture?" in lesion


def test_ranks_of_what_has_no_words_stand_at_the_end() -> None:
    seen = seen_of(disc(20, 20, 10))
    by_size = measured_questions(seen, "", Apart("larger", "in the picture"), lesion=False)
    assert "Where is the bright structure in the upper left, the larger one?" in by_size
    by_place = measured_questions(seen, "", Apart("second", "from the left in the picture"), lesion=False)
    assert "Where is the bright structure in the upper left, the second one from the left?" in by_place
    sided = measured_questions(seen, "right", Apart(), lesion=False)
    assert "Where is the bright structure in the upper left on the patient's right?" in sided


# Areas by hand: a disc of radius 19 is 12 % of 96 x 96, one of radius 10 is 3.4 %, one of radius 5 is 0.9 %.
@pytest.mark.parametrize(
    ("mask", "bright", "found"),
    [
        (disc(20, 20, 19), 200, "A large bright round area in the upper left fits the liver."),
        (disc(80, 48, 10), 20, "A medium dark round area in the lower centre fits the liver."),
        (disc(48, 80, 5), 84, "A small faint round area in the middle right fits the liver."),
    ],
)
def test_a_trace_says_what_was_measured_and_ends_with_the_name(mask: np.ndarray, bright: int, found: str) -> None:
    trace = trace_text("abdomen CT", "liver", seen_of(mask, bright), np.random.default_rng(0))
    task, _, said = trace.partition(". ")
    assert said == found and "abdomen CT" in task and "liver" in task
    assert conclude(trace).name == "liver"


def test_many_parts_are_a_scattered_region() -> None:
    mask = disc(20, 20, 6) | disc(20, 76, 6) | disc(76, 48, 6)
    trace = trace_text("abdomen CT", "liver tumor", seen_of(mask), np.random.default_rng(0))
    assert trace.endswith("A scattered bright region around the centre fits the liver tumor.")
    assert conclude(trace).name == "liver tumor"


def test_the_trace_of_an_absent_target_concludes_on_nothing() -> None:
    trace = absent_trace_text("brain MR", "liver", np.random.default_rng(0))
    assert trace.endswith("No area of the brain MR fits the liver.") and not conclude(trace).names_something


@pytest.mark.parametrize(
    ("modality", "site", "words"),
    [
        ("MRI-T2", "brain", "brain MR"),
        ("MRI", "heart", "heart MR"),
        ("CT", "abdomen", "abdomen CT"),
        ("X-Ray", "chest", "chest X-ray"),
        ("Ultrasound", "fetus", "fetal ultrasound"),
        ("Fundus", "retinal", "fundus photograph"),
        ("Pathology", "kidney", "stained slide"),
        ("Endoscopy", "", "endoscopic picture"),
        ("CT", "", "CT"),
        ("PET", "whole_body", "whole body picture"),
        ("", "", "picture"),
    ],
)
def test_a_picture_is_called_what_a_reader_would_call_it(modality: str, site: str, words: str) -> None:
    assert view_words(modality, site) == words


def test_the_examples_of_the_documentation_hold() -> None:
    assert doctest.testmod(forms).failed == 0


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("airways", "are"),
        ("nuclei", "are"),
        ("liver", "is"),
        ("pancreas", "is"),
        ("thalamus", "is"),
        ("left lung", "is"),
    ],
)
def test_a_trace_speaks_of_its_target_in_the_right_number(name: str, number: str) -> None:
    for seed in range(12):
        task = absent_trace_text("chest X-ray", name, np.random.default_rng(seed)).split(".")[0]
        assert task in {
            f"Sought in the chest X-ray {number} the {name}",
            f"The chest X-ray is searched for the {name}",
            f"In the chest X-ray the {name} {number} asked for",
        }
