"""The threshold for keeping silent: fitted on one split, told on another."""

from __future__ import annotations

import pytest

from medreasoner_monai.evaluation.confidence_stage import threshold
from medreasoner_monai.evaluation.records import Record
from tests.evaluation.records import record


def records(*pairs: tuple[float, float]) -> list[Record]:
    """Of confidence and box IoU."""
    return [record(n, q, confidence=c) for n, (c, q) in enumerate(pairs)]


VALIDATION = records((0.9, 0.8), (0.7, 0.6), (0.5, 0.4), (0.2, 0.0))


def test_it_answers_as_much_of_validation_as_keeps_the_quality() -> None:
    found = threshold(VALIDATION, records((0.8, 0.9), (0.5, 0.1), (0.4, 0.7)), wanted=0.6)
    # The best three have a mean of 0.6, all four 0.45.
    assert (found["reached"], found["value"]) == (True, 0.5)
    assert found["validation"] == {"coverage": 0.75, "quality": pytest.approx(0.6)}
    # On test two of three are sure enough.
    assert found["test"] == {"coverage": pytest.approx(2 / 3), "quality": pytest.approx(0.5)}


def test_what_cannot_be_reached_is_said_with_the_best() -> None:
    found = threshold(VALIDATION, VALIDATION, wanted=0.95)
    assert (found["reached"], found["value"], found["test"]) == (False, None, None)
    assert found["validation"] == {"coverage": 0.25, "quality": 0.8}


def test_where_no_test_answer_is_sure_enough_there_is_no_quality() -> None:
    found = threshold(VALIDATION, records((0.1, 0.9)), wanted=0.6)
    assert found["test"] == {"coverage": 0.0, "quality": None}


def test_a_test_split_without_a_region_has_no_coverage() -> None:
    silent = record(0, 0.0, confidence=0.0, answered=False, bbox=None, reason="no answer block")
    assert threshold(VALIDATION, [silent], wanted=0.6)["test"] == {"coverage": 0.0, "quality": None}


def test_without_validation_nothing_is_fitted_and_nothing_fails() -> None:
    found = threshold([], VALIDATION, wanted=0.6)
    assert (found["reached"], found["value"], found["validation"], found["test"]) == (False, None, None, None)
