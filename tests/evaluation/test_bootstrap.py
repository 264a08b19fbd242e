"""Intervals against the closed form for a mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.bootstrap import mean_interval, paired_difference, percentiles, statistic_interval


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
    assert mean_interval([0.25] * 5).as_dict() == {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 5, "groups": 5}


CLUSTERED = 30, 6  # patients, questions each


def patients(seed: int, spread: float = 0.2) -> tuple[np.ndarray, list[int]]:
    """Values around 0.4 that differ from patient to patient by ``spread`` and within one by a fifth of it."""
    rng = np.random.default_rng(seed)
    count, each = CLUSTERED
    of_patient = rng.normal(0.4, spread, count)
    values = of_patient[:, None] + rng.normal(0, spread / 5, (count, each))
    return values.ravel(), np.repeat(np.arange(count), each).tolist()


def test_clustered_intervals_cover_the_true_mean_and_others_do_not() -> None:
    clustered, alone = 0, 0
    for seed in range(150):
        values, groups = patients(seed)
        a, b = mean_interval(values, groups, resamples=300), mean_interval(values, resamples=300)
        clustered += a.low <= 0.4 <= a.high
        alone += b.low <= 0.4 <= b.high
    assert 0.89 <= clustered / 150 <= 0.99  # 0.95 within about three standard errors
    assert alone / 150 < 0.75, "questions taken one by one count a patient several times"


@pytest.mark.parametrize("count", [5, 10])
def test_few_patients_are_covered_nearly_as_often_as_many(count: int) -> None:
    draws = np.random.default_rng(5).normal(0.4, 0.2, (400, count))
    covered = np.mean([i.low <= 0.4 <= i.high for i in (mean_interval(v, resamples=400) for v in draws)])
    plain = np.mean([abs(v.mean() - 0.4) <= 1.96 * v.std() / np.sqrt(count) for v in draws])
    assert covered > plain + 0.02 and covered >= 0.86


@given(st.integers(2, 30), st.integers(2, 5), st.integers(0, 100))
def test_copies_of_a_sample_add_no_knowledge(count: int, copies: int, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(0, 1, count)
    once = mean_interval(values, resamples=200)
    often = mean_interval(np.repeat(values, copies), np.repeat(np.arange(count), copies).tolist(), resamples=200)
    assert (often.low, often.high, often.mean) == pytest.approx((once.low, once.high, once.mean))
    assert (often.n, often.groups) == (count * copies, count)


def test_width_is_that_of_the_clustered_standard_error() -> None:
    # The linearised variance of a ratio (Cochran 1977, section 6.3), with patients of unequal size.
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 9, 200)
    groups = np.repeat(np.arange(200), sizes)
    values = rng.normal(0.5, 0.2, 200)[groups] + rng.normal(0, 0.1, groups.size)
    found = mean_interval(values, groups.tolist())
    residuals = [(values[groups == g] - values.mean()).sum() for g in range(200)]
    half = 1.96 * np.sqrt(200 / 199 * np.square(residuals).sum()) / values.size
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)


def test_groups_are_told_apart_whatever_their_order() -> None:
    values, groups = patients(1)
    order = np.random.default_rng(0).permutation(values.size)
    shuffled = mean_interval(values[order], [groups[i] for i in order])
    straight = mean_interval(values, groups)
    assert shuffled.high - shuffled.low == pytest.approx(straight.high - straight.low, rel=0.1)


def test_a_single_patient_is_spoken_of_alone() -> None:
    found = mean_interval([0.1, 0.5, 0.9, 0.7], ["p"] * 4)
    assert found.groups == 1 and found.low < found.mean < found.high


def test_pairs_are_clustered_too() -> None:
    values, groups = patients(2)
    found = paired_difference(np.zeros(values.size), values, groups)
    assert found == mean_interval(values, groups)


def test_a_weighted_mean_is_a_statistic_like_others() -> None:
    values, groups = patients(4)
    found = statistic_interval(lambda w: float(np.average(values, weights=w)), values.size, groups, resamples=2000)
    expected = mean_interval(values, groups, resamples=2000)
    assert found.as_dict() == pytest.approx(expected.as_dict(), abs=1e-5)


def test_draws_in_blocks_are_those_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    values, groups = patients(6)
    whole = mean_interval(values, groups)
    monkeypatch.setattr("medreasoner_monai.evaluation.bootstrap._CELLS", 100)
    assert mean_interval(values, groups).as_dict() == whole.as_dict()


def test_with_many_groups_percentiles_are_the_usual_ones() -> None:
    drawn = np.random.default_rng(0).normal(size=4000)
    assert percentiles(drawn, 5000) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=0.005)


def test_groups_that_are_not_one_a_sample_are_refused() -> None:
    with pytest.raises(InputError, match="one group per sample, got 1 groups for 2 samples"):
        mean_interval([1, 2], ["p"])


def test_nothing_to_average_and_unequal_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="no samples to average"):
        mean_interval([])
    with pytest.raises(InputError, match="needs the same samples, got 1 and 2"):
        paired_difference([1], [1, 2])
