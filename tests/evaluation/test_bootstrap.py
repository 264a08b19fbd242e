"""Intervals against the closed form for a mean."""

from __future__ import annotations

import numpy as np
import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.bootstrap import mean_interval, paired_difference


def test_interval_of_a_mean_is_that_of_the_closed_form() -> None:
    values = np.random.default_rng(0).normal(0.4, 0.2, 500)
    found = mean_interval(values)
    half = 1.96 * values.std() / np.sqrt(values.size)
    assert found.mean == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.1 * half)
    assert found.n == 500


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draws = np.random.default_rng(1).normal(0.4, 0.2, (200, 100))
    intervals = [mean_interval(v, resamples=400, seed=n) for n, v in enumerate(draws)]
    covered = np.mean([i.low <= 0.4 <= i.high for i in intervals])
    assert 0.89 <= covered <= 0.99  # 0.95 within about three standard errors


def test_paired_difference_is_narrower_than_the_samples_spread() -> None:
    rng = np.random.default_rng(2)
    first = rng.uniform(0, 1, 300)
    second = first + rng.normal(0.02, 0.01, 300)
    found = paired_difference(first, second)
    assert found.low > 0 and found.mean == pytest.approx(0.02, abs=0.002)
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.01 / np.sqrt(300), rel=0.2)


def test_direction_of_the_difference_is_second_less_first() -> None:
    assert paired_difference([0, 0], [1, 1]).mean == 1


def test_same_seed_gives_the_same_interval() -> None:
    values = [0.1, 0.5, 0.9]
    assert mean_interval(values) == mean_interval(values) != mean_interval(values, seed=1, resamples=10)


def test_constant_values_have_no_width() -> None:
    assert mean_interval([0.25] * 5).as_dict() == {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 5}


def test_nothing_to_average_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="no samples to average"):
        mean_interval([])
    with pytest.raises(InputError, match="needs the same samples, got 1 and 2"):
        paired_difference([1], [1, 2])
