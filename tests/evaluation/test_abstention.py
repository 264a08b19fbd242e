"""Confidence: what it is worth, and when to keep silent."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import (
    Threshold,
    area,
    calibration,
    confidence_report,
    fit_threshold,
    risk_coverage,
)
from medreasoner_monai.evaluation.metrics import summarise
from tests.evaluation.records import record

CONFIDENCE, QUALITY = [0.9, 0.2, 0.9, 0.5], [1.0, 0.0, 0.6, 0.4]


def test_the_curve_by_hand() -> None:
    assert risk_coverage(CONFIDENCE, QUALITY) == [
        Threshold(0.9, 0.5, pytest.approx(0.8)),
        Threshold(0.5, 0.75, pytest.approx(2 / 3)),
        Threshold(0.2, 1.0, pytest.approx(0.5)),
    ]
    # Half of the width at risk 0.2, a quarter at 1/3, a quarter at 0.5.
    assert area(risk_coverage(CONFIDENCE, QUALITY)) == pytest.approx(0.1 + 1 / 12 + 0.125)


def test_the_threshold_answers_most_at_the_wanted_quality() -> None:
    assert fit_threshold(CONFIDENCE, QUALITY, 0.6).value == 0.5
    assert fit_threshold(CONFIDENCE, QUALITY, 0.5).coverage == 1
    with pytest.raises(InputError, match=r"the best is 0\.800"):
        fit_threshold(CONFIDENCE, QUALITY, 0.9)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=40))
def test_every_point_of_the_curve_is_what_answering_there_gives(pairs: list[tuple[float, float]]) -> None:
    c, q = np.array(pairs).T
    for point in risk_coverage(c, q):
        kept = c >= point.value
        assert point.coverage == pytest.approx(kept.mean())
        assert point.quality == pytest.approx(q[kept].mean())


def test_calibration_by_hand() -> None:
    found = calibration([0.95, 0.91, 0.35, 1.0], [0.9, 0.7, 0.55, 0.8])
    # Bin 0.9 to 1: three with mean confidence 0.95333 and quality 0.8; bin 0.3 to 0.4: one, 0.35 and 0.55.
    assert [r["n"] for r in found["bins"]] == [1, 3]
    assert found["expected_error"] == pytest.approx((1 * 0.2 + 3 * (0.95 + 0.91 + 1.0 - 2.4) / 3) / 4, abs=1e-5)


def test_metrics_tell_of_confidence_where_there_is_one() -> None:
    with_confidence = [record(n, 0.1 * n, confidence=0.1 * n) for n in range(8)]
    found = summarise(with_confidence, resamples=100)["confidence"]
    assert found["calibration"]["expected_error"] == pytest.approx(0, abs=1e-9)
    assert found["risk_coverage"][-1]["coverage"] == 1
    assert "confidence" not in summarise([record(0)], resamples=100)
    assert confidence_report([*with_confidence, record(9)]) is None
