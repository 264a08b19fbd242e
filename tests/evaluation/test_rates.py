"""Intervals of rates, against the formula written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from medreasoner_monai.evaluation.rates import effective_size, rate


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


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_without_groups_it_is_scipys_interval(happened: list[bool]) -> None:
    expected = binomtest(sum(happened), len(happened)).proportion_ci(method="wilson")
    found = rate(happened)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(st.lists(st.booleans(), min_size=2, max_size=40), st.integers(2, 5))
def test_copies_of_a_sample_add_no_knowledge(happened: list[bool], copies: int) -> None:
    often = [value for value in happened for _ in range(copies)]
    found = rate(often, [n for n in range(len(happened)) for _ in range(copies)])
    once = rate(happened)
    assert found is not None and once is not None
    assert (found.low, found.high) == pytest.approx((once.low, once.high))
    assert (found.n, found.groups) == (len(often), len(happened))


def test_clustered_rates_cover_the_true_one_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    clustered, alone = 0, 0
    for _ in range(400):
        chance = rng.beta(1, 3, 40)  # a patient's own; 0.25 on average
        happened = (rng.random((40, 8)) < chance[:, None]).ravel().tolist()
        a, b = rate(happened, np.repeat(np.arange(40), 8).tolist()), rate(happened)
        assert a is not None and b is not None
        clustered += a.low <= 0.25 <= a.high
        alone += b.low <= 0.25 <= b.high
    assert 0.91 <= clustered / 400 <= 0.99
    assert alone / 400 < 0.85


def test_independent_samples_of_few_patients_are_worth_what_they_are() -> None:
    happened = (np.random.default_rng(1).random(2000) < 0.3).astype(float)
    groups = np.repeat(np.arange(1000), 2).tolist()
    assert effective_size(happened, groups) == pytest.approx(2000, rel=0.1)


def test_never_seen_is_not_never() -> None:
    found = rate([False] * 20)
    assert found is not None and (found.low, found.mean) == (0, 0) and found.high > 0.15


def test_of_nothing_there_is_no_rate() -> None:
    assert rate([]) is None
