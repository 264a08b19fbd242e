"""Intervals of rates, against the formula written out."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.evaluation.rates import rate


@given(st.lists(st.booleans(), min_size=1, max_size=200))
def test_the_interval_is_that_of_wilsons_formula(happened: list[bool]) -> None:
    n, p, z = len(happened), sum(happened) / len(happened), 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = rate(happened)
    assert found is not None
    assert (found.mean, found.n) == (p, n)
    assert found.low == pytest.approx(middle - half, abs=1e-6) and found.high == pytest.approx(middle + half, abs=1e-6)
    assert found.low <= found.mean <= found.high


def test_never_seen_is_not_never() -> None:
    found = rate([False] * 20)
    assert found is not None and (found.low, found.mean) == (0, 0) and found.high > 0.15


def test_of_nothing_there_is_no_rate() -> None:
    assert rate([]) is None
