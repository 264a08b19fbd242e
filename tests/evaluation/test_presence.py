"""Absent targets: what counts as which mistake, counted by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.evaluation.metrics import compare, mistake_means, summarise
from medreasoner_monai.evaluation.mistakes import compare_mistakes
from medreasoner_monai.evaluation.presence import presence_curve, presence_report
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.task.answer import Reason
from tests.evaluation.records import record

NOTHING, UNSURE, MUTE = Reason.NOTHING_FOUND, Reason.UNSURE, Reason.NOT_JSON


def region(number: int, present: bool, **changes: Any) -> Record:
    """A region, where the target is present with a box IoU of 0.6."""
    lacking = {} if present else {"masks": {}, "point_dice": 0.0}
    return record(number, 0.6 if present else 0.0, **{"present": present, **lacking, **changes})


def silent(number: int, present: bool, reason: Reason, **changes: Any) -> Record:
    """An answer without a region."""
    masks = {"box/both": 0.0} if present else {}
    lacking = {"answered": False, "bbox": None, "points": None, "masks": masks, "point_dice": 0.0}
    return record(number, 0.0, **{"present": present, "reason": str(reason), **lacking, **changes})


RECORDS = [
    # Ten present targets: seven regions, one missed, one withheld, one that cannot be read.
    *(region(n, True) for n in range(7)),
    silent(7, True, NOTHING),
    silent(8, True, UNSURE),
    silent(9, True, MUTE),
    # Six absent ones: two regions, three rightly nothing, one that cannot be read.
    region(10, False, absent="removed"),
    region(11, False, absent="healthy"),
    silent(12, False, NOTHING, absent="removed"),
    silent(13, False, NOTHING, absent="removed"),
    silent(14, False, NOTHING),
    silent(15, False, MUTE, absent="healthy"),
]


def test_each_answer_is_counted_where_it_belongs() -> None:
    metrics = summarise(RECORDS, resamples=100)
    assert (metrics["samples"], metrics["present"], metrics["withheld"]) == (16, 10, 1)
    assert metrics["failure_rate"] == 2 / 16 and metrics["failures"] == {str(MUTE): 2}
    absent = metrics["absent"]
    assert absent["samples"] == 6
    assert (absent["false_positive_rate"]["mean"], absent["false_positive_rate"]["n"]) == (0.4, 5)
    assert absent["false_negative_rate"]["mean"] == pytest.approx(1 / 9, abs=1e-5)
    kinds = {kind: (found["mean"], found["n"]) for kind, found in absent["by_kind"].items()}
    assert kinds == {"removed": (pytest.approx(1 / 3, abs=1e-5), 3), "healthy": (1.0, 1), "unstated": (0.0, 1)}


def test_means_are_over_present_targets_alone() -> None:
    metrics = summarise(RECORDS, resamples=100)
    assert metrics["overall"]["box_iou"]["n"] == 10
    assert metrics["overall"]["box_iou"]["mean"] == pytest.approx(7 * 0.6 / 10)
    assert metrics["overall"]["dice/box/both"]["mean"] == pytest.approx(7 * 0.75 / 10)
    assert sum(group["box_iou"]["n"] for group in metrics["by_category"].values()) == 10


def test_always_nothing_and_always_a_region_are_told_apart_by_one_rate_each() -> None:
    def rates(present: Any, absent: Any) -> dict[str, float]:
        records = [*(present(n, True) for n in range(4)), *(absent(n, False) for n in range(4, 8))]
        return mistake_means(summarise(records, resamples=100))

    def nothing(number: int, present: bool) -> Record:
        return silent(number, present, NOTHING)

    assert rates(nothing, nothing) == {"false_positive_rate": 0, "false_negative_rate": 1}
    assert rates(region, region) == {"false_positive_rate": 1, "false_negative_rate": 0}
    assert rates(region, nothing) == {"false_positive_rate": 0, "false_negative_rate": 0}


def test_without_absent_targets_only_misses_can_be_counted() -> None:
    report = presence_report(RECORDS[:10])
    assert (report["samples"], report["false_positive_rate"], report["by_kind"]) == (0, None, {})
    assert report["false_negative_rate"]["n"] == 9 and "curve" not in report


def test_all_absent_there_is_no_overlap_to_average() -> None:
    metrics = summarise(RECORDS[10:], resamples=100)
    assert metrics["overall"] == metrics["by_category"] == {}
    assert metrics["absent"]["false_negative_rate"] is None


def test_the_curve_by_hand() -> None:
    records = [
        region(0, True, confidence=0.9),
        region(1, True, confidence=0.5),
        silent(2, True, NOTHING, confidence=1.0),
        region(3, False, confidence=0.5),
        region(4, False, confidence=0.3),
        silent(5, False, NOTHING, confidence=0.75),
        silent(6, False, MUTE, confidence=0.0),
    ]
    points = [(p["threshold"], p["false_positive_rate"], p["false_negative_rate"]) for p in presence_curve(records)]
    third = pytest.approx(1 / 3, abs=1e-5)
    assert points == [
        (0.0, pytest.approx(2 / 3, abs=1e-5), third),
        (0.3, pytest.approx(2 / 3, abs=1e-5), third),
        (0.5, third, third),
        (0.9, 0.0, pytest.approx(2 / 3, abs=1e-5)),
    ]


confidences = st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(0, 1)), min_size=2, max_size=60)


@given(confidences)
def test_a_higher_threshold_trades_one_mistake_for_the_other(drawn: list[tuple[bool, bool, float]]) -> None:
    records = [
        region(n, present, confidence=c) if given_ else silent(n, present, NOTHING, confidence=c)
        for n, (present, given_, c) in enumerate(drawn)
    ]
    curve = presence_curve(records)
    wrong, missed = [p["false_positive_rate"] for p in curve], [p["false_negative_rate"] for p in curve]
    assert wrong == sorted(wrong, reverse=True) and missed == sorted(missed)
    if curve:  # nothing withheld: the rates of the report
        report = presence_report(records)
        assert wrong[0] == report["false_positive_rate"]["mean"]
        assert missed[0] == report["false_negative_rate"]["mean"]


def test_without_confidence_there_is_no_curve() -> None:
    assert presence_curve(RECORDS) == []


def test_two_evaluations_are_paired_on_what_both_could_read() -> None:
    better = [
        silent(int(r.id[1:]), False, NOTHING) if r.id == "s10" else region(9, True) if r.id == "s9" else r
        for r in RECORDS
    ]
    found = compare_mistakes(RECORDS, better, resamples=100)
    # Of five absent targets that both read, one is answered with a region no longer.
    assert (found["false_positive_rate"].mean, found["false_positive_rate"].n) == (pytest.approx(-0.2), 5)
    assert (found["false_negative_rate"].mean, found["false_negative_rate"].n) == (0, 9)
    differences = compare(RECORDS, better, resamples=100)
    assert differences["false_positive_rate"]["difference"] == pytest.approx(-0.2)
    assert differences["box_iou"]["n"] == 10 and differences["box_iou"]["difference"] == pytest.approx(0.06)
