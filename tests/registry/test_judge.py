"""The gate's checks, each at its limit, and the sentences people read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.registry.judge import Decision, decide
from medreasoner_monai.settings.config import GateSettings
from medreasoner_monai.task.answer import Reason
from tests.evaluation.records import record

SETTINGS = GateSettings(min_box_iou=0.3, max_failure_rate=0.05, min_over_blank=0.1, tolerance=0.01)


def metrics(box_iou: float, failure_rate: float = 0.0) -> dict[str, Any]:
    return {"overall": {"box_iou": {"mean": box_iou}}, "failure_rate": failure_rate}


def records(*values: float) -> list[Record]:
    return [record(n, v) for n, v in enumerate(values)]


def failed(decision: Decision) -> list[str]:
    return [c.name for c in decision.checks if not c.passed]


def test_good_candidate_without_a_champion_is_promoted() -> None:
    decision = decide(metrics(0.5), metrics(0.2), SETTINGS)
    assert decision.decision == "promote"
    assert decision.reasons == ("there is no champion yet, and every check passed",)


def test_limits_themselves_are_good_enough() -> None:
    assert decide(metrics(0.3, 0.05), metrics(0.1), SETTINGS).decision == "promote"


@pytest.mark.parametrize(
    ("candidate", "blank", "name", "said"),
    [
        (metrics(0.29), metrics(0.1), "box IoU", "mean box IoU is 0.290, at least 0.300 is asked for"),
        (metrics(0.5, 0.06), metrics(0.1), "unreadable answers", "unreadable answers is 0.060, at most 0.050"),
        (metrics(0.5), metrics(0.45), "over blank image", "what the picture adds to the mean box IoU is 0.050"),
    ],
)
def test_each_limit_alone_refuses_and_says_why(
    candidate: dict[str, Any], blank: dict[str, Any], name: str, said: str
) -> None:
    decision = decide(candidate, blank, SETTINGS)
    assert decision.decision == "refuse" and failed(decision) == [name]
    assert said in decision.reasons[0]


def test_all_reasons_are_given() -> None:
    assert len(decide(metrics(0.1, 0.5), metrics(0.1), SETTINGS).reasons) == 3


def test_champion_is_met_on_the_same_samples() -> None:
    old = records(0.5, 0.6, 0.7)
    new = records(0.6, 0.7, 0.8)[::-1]
    decision = decide(metrics(0.7), metrics(0), SETTINGS, candidate_records=new, champion_records=old)
    assert decision.decision == "promote" and decision.reasons == ("every check passed",)
    (against,) = (c for c in decision.checks if c.name == "not worse than the champion")
    assert against.value == pytest.approx(0.1)


def test_worse_than_the_champion_is_refused_with_the_interval() -> None:
    decision = decide(
        metrics(0.5), metrics(0), SETTINGS, candidate_records=records(0.5, 0.5), champion_records=records(0.6, 0.6)
    )
    assert failed(decision) == ["not worse than the champion"]
    assert "against the champion -0.100 [-0.100, -0.100]" in decision.reasons[0]


def test_better_on_average_is_not_enough_when_the_interval_reaches_far_below() -> None:
    old, new = records(0.5, 0.5, 0.5, 0.5), records(1, 0.9, 0.6, 0.1)
    decision = decide(metrics(0.65), metrics(0), SETTINGS, candidate_records=new, champion_records=old)
    assert failed(decision) == ["not worse than the champion"]


def test_equal_models_pass_within_the_tolerance() -> None:
    same = records(0.5, 0.6)
    assert (
        decide(metrics(0.55), metrics(0), SETTINGS, candidate_records=same, champion_records=same).decision == "promote"
    )


def test_other_samples_cannot_be_compared() -> None:
    with pytest.raises(InputError, match="evaluated on different samples"):
        decide(metrics(0.5), metrics(0), SETTINGS, candidate_records=records(1), champion_records=records(1, 1))


def test_decision_can_be_written_down() -> None:
    written = json.loads(json.dumps(decide(metrics(0.5), metrics(0.2), SETTINGS).as_dict()))
    assert written["decision"] == "promote"
    assert set(written["checks"][0]) == {"name", "passed", "value", "limit", "text"}


def test_samples_that_cannot_be_paired_are_refused() -> None:
    twice = [*records(0.5, 0.9), *records(0.1)]
    for old, new in ((records(0.5, 0.6), twice), (twice, records(0.5, 0.6))):
        with pytest.raises(InputError, match="has sample .* more than once"):
            decide(metrics(0.5), metrics(0), SETTINGS, candidate_records=new, champion_records=old)


def with_rates(wrong: float, missed: float, crossed: float) -> dict[str, Any]:
    """Metrics with rates of mistakes of fifty answers each."""

    def of(mean: float) -> dict[str, float]:
        return {"mean": mean, "low": 0.0, "high": 1.0, "n": 50}

    return metrics(0.5) | {
        "absent": {"samples": 50, "false_positive_rate": of(wrong), "false_negative_rate": of(missed)},
        "left_right": {"samples": 50, "regions": 50, "confusion_rate": of(crossed)},
    }


@pytest.mark.parametrize(
    ("rates", "name", "said"),
    [
        ((0.12, 0.1, 0.05), "false positives", "absent targets that get a region is 0.120 [0.000, 1.000] of 50"),
        ((0.1, 0.12, 0.05), "false negatives", '"nothing there" is 0.120 [0.000, 1.000] of 50, at most 0.100'),
        ((0.1, 0.1, 0.06), "left/right confusion", "regions on the other side is 0.060"),
    ],
)
def test_each_rate_of_mistakes_alone_refuses(rates: tuple[float, float, float], name: str, said: str) -> None:
    decision = decide(with_rates(*rates), metrics(0.1), SETTINGS)
    assert failed(decision) == [name] and said in decision.reasons[0]
    assert decide(with_rates(0.1, 0.1, 0.05), metrics(0.1), SETTINGS).decision == "promote"


def test_what_the_test_split_cannot_measure_is_skipped_and_said() -> None:
    decision = decide(metrics(0.5), metrics(0.1), SETTINGS)
    skipped = {c.name: c.text for c in decision.checks if c.value is None}
    assert list(skipped) == ["false positives", "false negatives", "left/right confusion"]
    assert skipped["false positives"].startswith("skipped: there is no readable answer on an absent target")


def absent(number: int, *, given: bool) -> Record:
    """An absent target, and whether a region was given for it."""
    if given:
        return record(number, 0.0, present=False)
    return record(number, 0.0, present=False, answered=False, bbox=None, reason=str(Reason.NOTHING_FOUND))


def test_more_regions_for_nothing_than_the_champion_gives_refuse() -> None:
    old = records(0.5, 0.6) + [absent(n, given=False) for n in range(2, 12)]
    new = records(0.5, 0.6) + [absent(n, given=n < 4) for n in range(2, 12)]
    about = {"candidate_records": new, "champion_records": old}
    decision = decide(metrics(0.55), metrics(0.1), SETTINGS, **about)  # type: ignore[arg-type]
    assert failed(decision) == ["false positives, not worse than the champion"]
    assert "against the champion +0.200" in decision.reasons[0] and "over 10 samples" in decision.reasons[0]
    # Box IoU is compared on the two present targets, which did not change.
    (overlap,) = (c for c in decision.checks if c.name == "not worse than the champion")
    assert overlap.value == 0
    better = decide(metrics(0.55), metrics(0.1), SETTINGS, candidate_records=old, champion_records=new)
    assert better.decision == "promote"
