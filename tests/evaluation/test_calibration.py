"""Calibration fitted on validation answers, held against what is known of the answers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.evaluation.abstention import calibration as worth
from medreasoner_monai.evaluation.calibration import GROUP, LEAST, fit_calibration
from medreasoner_monai.evaluation.confidence_stage import calibrate, calibration_facts
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.task.answer import Reason
from tests.evaluation.records import record

Pairs = list[tuple[float, float]]


def records(pairs: Pairs) -> list[Record]:
    """Of agreement and box IoU."""
    return [record(n, q, confidence=c) for n, (c, q) in enumerate(pairs)]


def overconfident(n: int, seed: int) -> Pairs:
    """Answers whose expected box IoU is the square of their agreement."""
    rng = np.random.default_rng(seed)
    agreement = rng.uniform(0.2, 1, n)
    return [(float(a), float(np.clip(a**2 + e, 0, 1))) for a, e in zip(agreement, rng.normal(0, 0.15, n), strict=True)]


def test_it_finds_what_agreement_is_worth() -> None:
    fitted = fit_calibration(records(overconfident(400, 0)), 4, 0.7)
    assert fitted is not None and (fitted.n, fitted.answers, fitted.temperature) == (400, 4, 0.7)
    for agreement in (0.3, 0.5, 0.7, 0.9):
        assert fitted(agreement) == pytest.approx(agreement**2, abs=0.08)


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_answers_are_enough_to_be_less_wrong_on_others(seed: int) -> None:
    fitted = fit_calibration(records(overconfident(100, seed)), 4, 0.7)
    assert fitted is not None
    agreement, quality = np.array(overconfident(2000, seed + 100)).T
    before, after = worth(agreement, quality), worth([fitted(a) for a in agreement], quality)
    assert after["expected_error"] < 0.4 * before["expected_error"]
    assert after["squared_error"] < before["squared_error"]


def test_no_knot_rests_on_a_few_lucky_answers() -> None:
    # The three most agreeing answers happen to be perfect, all others score 0.5: a step of their own would say 1.
    fitted = fit_calibration(records([(0.01 * n, 0.5) for n in range(97)] + [(0.97 + 0.01 * n, 1.0) for n in range(3)]),
                             4, 0.7)  # fmt: skip
    assert fitted is not None
    assert len(fitted.agreement) == 100 // GROUP
    assert fitted(1.0) == pytest.approx((3 * 1.0 + 7 * 0.5) / 10)


def test_equal_agreements_stay_together() -> None:
    fitted = fit_calibration(records([(0.5, q) for q in (0.2, 0.8)] * 30 + [(1.0, 0.9)] * 25), 4, 0.7)
    assert fitted is not None
    assert fitted.agreement == (0.5, 1.0)
    assert fitted.expected == pytest.approx((0.5, 0.9))


def test_where_more_agreement_went_with_less_quality_the_two_are_pooled() -> None:
    fitted = fit_calibration(records([(0.4, 0.6)] * 40 + [(0.8, 0.3)] * 20), 4, 0.7)
    assert fitted is not None
    assert fitted.expected == pytest.approx((0.5, 0.5))  # (40 x 0.6 + 20 x 0.3) / 60


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=LEAST, max_size=80))
def test_whatever_it_is_fitted_on_the_table_is_monotone_and_within_what_was_seen(pairs: Pairs) -> None:
    fitted = fit_calibration(records(pairs), 4, 0.7)
    assert fitted is not None  # the table checks itself that it is monotone and in [0, 1]
    quality = [q for _, q in pairs]
    assert min(quality) - 1e-5 <= min(fitted.expected) and max(fitted.expected) <= max(quality) + 1e-5


def test_of_too_few_answers_nothing_is_made() -> None:
    assert fit_calibration(records(overconfident(LEAST - 1, 0)), 4, 0.7) is None


def test_answers_without_a_region_say_nothing_of_regions() -> None:
    nothing = [
        record(n, 0.0, confidence=1.0, answered=False, bbox=None, reason=str(Reason.NOTHING_FOUND)) for n in range(60)
    ]
    assert fit_calibration(nothing, 4, 0.7) is None
    regions = records(overconfident(60, 1))
    fitted = fit_calibration(regions + nothing, 4, 0.7)
    assert fitted is not None and fitted == fit_calibration(regions, 4, 0.7)
    assert [r.confidence for r in calibrate(nothing, fitted)] == [1.0] * 60


def test_what_it_was_worth_before_and_after_is_reported_on_test() -> None:
    validation, test = records(overconfident(120, 0)), records(overconfident(360, 1))
    facts = calibration_facts(fit_calibration(validation, 4, 0.7), validation, test)
    agreement, quality = np.array(overconfident(360, 1)).T
    assert facts["fitted"] and facts["n"] == 120
    assert facts["before"]["expected_error"] == worth(agreement, quality)["expected_error"]
    assert facts["after"]["expected_error"] < facts["before"]["expected_error"]


def test_without_a_calibration_there_is_no_after() -> None:
    few = records(overconfident(20, 0))
    facts = calibration_facts(None, few, few)
    assert (facts["fitted"], facts["n"], facts["after"]) == (False, 20, None)
    assert facts["before"]["expected_error"] > 0
