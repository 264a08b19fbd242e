"""The table from agreement to expected box IoU."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.calibration import Calibration

TABLE = Calibration((0.2, 0.6, 0.8), (0.1, 0.1, 0.5), answers=4, temperature=0.7, n=120)


@pytest.mark.parametrize(
    ("agreement", "expected"),
    [(0.0, 0.1), (0.2, 0.1), (0.4, 0.1), (0.6, 0.1), (0.7, 0.3), (0.8, 0.5), (1.0, 0.5)],
)
def test_between_knots_it_is_linear_and_beyond_them_constant(agreement: float, expected: float) -> None:
    assert TABLE(agreement) == pytest.approx(expected)


@pytest.mark.parametrize(("expected", "least"), [(0.05, 0), (0.1, 0), (0.3, 0.7), (0.5, 0.8), (0.51, math.inf)])
def test_the_least_agreement_for_an_expected_value(expected: float, least: float) -> None:
    assert TABLE.least_agreement(expected) == pytest.approx(least)


@st.composite
def tables(draw: st.DrawFn) -> Calibration:
    knots = draw(st.lists(st.integers(0, 100), min_size=1, max_size=8, unique=True))
    values = draw(st.lists(st.integers(0, 100), min_size=len(knots), max_size=len(knots)))
    x, y = np.sort(knots) / 100, np.sort(values) / 100
    return Calibration(tuple(x.tolist()), tuple(y.tolist()), 4, 0.7, 100)


@given(tables(), st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_more_agreement_never_means_less_confidence(table: Calibration, agreements: list[float]) -> None:
    values = [table(a) for a in sorted(agreements)]
    assert values == sorted(values) and all(0 <= v <= 1 for v in values)


@given(tables(), st.floats(0, 1), st.floats(0, 1))
def test_the_least_agreement_cuts_where_the_confidence_does(
    table: Calibration, agreement: float, threshold: float
) -> None:
    least = table.least_agreement(threshold)
    if abs(agreement - least) > 1e-4 and abs(table(agreement) - threshold) > 1e-4:  # beyond rounding
        assert (agreement >= least) == (table(agreement) >= threshold)


def test_it_holds_for_answers_drawn_as_it_was_fitted() -> None:
    assert TABLE.fits(4, 0.7)
    assert not TABLE.fits(8, 0.7) and not TABLE.fits(4, 1.0)


def test_it_goes_through_json_and_its_digest_says_what_it_is() -> None:
    again = Calibration.read(json.loads(json.dumps(TABLE.as_dict())))
    assert again == TABLE and again.digest == TABLE.digest
    assert again.digest != Calibration(TABLE.agreement, TABLE.expected, 8, 0.7, 120).digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"agreement": [0.2, 0.6]}, "as many agreements as expected values, got 2 and 3"),
        ({"agreement": [0.2, 0.2, 0.8]}, "agreements increase"),
        ({"expected": [0.2, 0.1, 0.8]}, "expected values not decrease"),
        ({"expected": [0.2, float("nan"), 0.8]}, r"lie in \[0, 1\]"),
        ({"expected": [0.2, 0.3, 1.8]}, r"lie in \[0, 1\]"),
        ({"n": None}, "TypeError"),
        ({"agreement": 3}, "TypeError"),
    ],
)
def test_what_is_no_calibration_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Calibration.read(TABLE.as_dict() | change)


def test_a_calibration_without_a_key_is_refused() -> None:
    with pytest.raises(InputError, match="KeyError: 'answers'"):
        Calibration.read({k: v for k, v in TABLE.as_dict().items() if k != "answers"})
    with pytest.raises(InputError, match="got list"):
        Calibration.read([0.2, 0.4])
