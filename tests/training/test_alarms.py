"""Each alarm on rows made for it: raised once, cleared, silent for one noisy step and for trainings that go well."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.settings.config import GrpoSettings
from medreasoner_monai.training.alarm_rules import RULES
from medreasoner_monai.training.alarms import ALARMS, Alarm, AlarmLog, alarms, read_alarms, write_alarms
from medreasoner_monai.training.rows import NOT_FINITE

GRPO = {
    "loss": 1e-4, "grad_norm": 0.15, "reward": 3.0, "reward_std": 0.5, "kl": 0.03, "entropy": 0.55,
    "frac_reward_zero_std": 0.1, "completions/clipped_ratio": 0.02, "completions/mean_length": 40.0,
    "rewards/format_answer/mean": 0.98, "rewards/format_think/mean": 1.0, "rewards/bbox_iou/mean": 0.55,
    "clip_ratio/region_mean": 0.01,
}  # fmt: skip
SFT = {"loss": 0.7, "grad_norm": 0.4, "entropy": 0.8, "mean_token_accuracy": 0.9}


def rows(well: dict[str, Any], *changes: dict[str, Any]) -> list[dict[str, Any]]:
    """Ten rows as they should be, then one for each change."""
    return [{"step": n + 1, **well, **change} for n, change in enumerate([{}] * 10 + list(changes))]


# Kind, and the rows' change that must raise it.
BAD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("equal_rewards", GRPO, {"frac_reward_zero_std": 0.95}),
    ("entropy_collapse", GRPO, {"entropy": 0.004}),
    ("entropy_explosion", GRPO, {"entropy": 2.4}),
    ("kl_runaway", GRPO, {"kl": 1.5}),
    ("truncated", GRPO, {"completions/clipped_ratio": 0.6}),
    ("not_finite", GRPO, {NOT_FINITE: ["loss"]}),
    ("format_zero", GRPO, {"rewards/format_answer/mean": 0.0}),
    ("format_zero", GRPO, {"rewards/format_think/mean": 0.01}),
    ("format_zero", GRPO | {"rewards/base_keys/mean": 0.9}, {"rewards/base_keys/mean": 0.0}),
    ("format_zero", GRPO | {"rewards/format_answer/mean": 0.6}, {"rewards/bbox_iou/mean": 0.0}),
    ("always_nothing", GRPO, {"rewards/bbox_iou/mean": 0.01}),
    ("gradient_spikes", GRPO, {"grad_norm": 4.0}),
    ("zero_gradients", GRPO, {"grad_norm": 0.0}),
    ("clip_high", GRPO, {"clip_ratio/region_mean": 0.5}),
    ("loss_diverging", SFT, {"loss": 1.4}),
    ("gradient_spikes", SFT, {"grad_norm": 9.0}),
    ("zero_gradients", SFT, {"grad_norm": 0.0}),
]
NAMES = [f"{kind}-{next(iter(change))}" for kind, _, change in BAD]


@pytest.mark.parametrize(("kind", "well", "change"), BAD, ids=NAMES)
def test_raised_once_while_it_lasts_and_cleared_when_it_is_over(
    kind: str, well: dict[str, Any], change: dict[str, Any]
) -> None:
    lasting = alarms(rows(well, *[change] * 12))
    assert [(a.kind, a.cleared) for a in lasting] == [(kind, None)]
    assert 11 <= lasting[0].step <= 11 + 5

    over = alarms(rows(well, *[change] * 5, *[{}] * 15))
    assert [a.kind for a in over] == [kind]
    assert over[0].cleared is not None and 16 <= over[0].cleared <= 30


@pytest.mark.parametrize(("kind", "well", "change"), BAD, ids=NAMES)
def test_it_is_raised_again_when_it_returns(kind: str, well: dict[str, Any], change: dict[str, Any]) -> None:
    found = alarms(rows(well, *[change] * 5, *[{}] * 40, *[change] * 5))
    assert [a.kind for a in found] == [kind, kind]


@pytest.mark.parametrize(("kind", "well", "change"), BAD, ids=NAMES)
def test_one_noisy_step_is_no_alarm_but_one_nan_is(kind: str, well: dict[str, Any], change: dict[str, Any]) -> None:
    found = alarms(rows(well, change, *[{}] * 10, change, *[{}] * 10))
    if kind == "not_finite":
        assert [a.step for a in found] == [11, 22]
    else:
        assert found == []


@pytest.mark.parametrize("well", [GRPO, SFT], ids=["grpo", "sft"])
def test_nothing_is_raised_while_all_goes_well(well: dict[str, Any]) -> None:
    assert alarms(rows(well, *[{}] * 200)) == []


def test_a_cold_start_from_nothing_raises_nothing() -> None:
    """Loss and gradient fall by a factor of ten, entropy as well."""
    course = [
        {"loss": 0.6 + 6.5 * 0.9**n, "grad_norm": 0.4 + 2.6 * 0.9**n, "entropy": 0.02 + 6 * 0.9**n} for n in range(90)
    ]
    assert alarms([{"step": 5 * n, **values} for n, values in enumerate(course)]) == []


def test_a_training_that_is_wrong_from_the_start_is_told_at_the_third_row() -> None:
    never = {"frac_reward_zero_std": 1.0, "grad_norm": 0.0, "rewards/format_answer/mean": 0.0,
             "rewards/bbox_iou/mean": 0.0, "completions/clipped_ratio": 1.0}  # fmt: skip
    found = alarms([{"step": n, **GRPO, **never} for n in (1, 2, 3)])
    assert sorted((a.kind, a.step) for a in found) == [
        ("equal_rewards", 3), ("format_zero", 3), ("truncated", 3), ("zero_gradients", 3)
    ]  # fmt: skip


def test_between_its_two_limits_an_alarm_stays_as_it_is() -> None:
    """A share that goes up and down around the limit is one alarm, not one each time."""
    swinging = [{"completions/clipped_ratio": share} for share in [0.3] * 5 + [0.2] * 5 + [0.3] * 5 + [0.2] * 5]
    assert [(a.kind, a.cleared) for a in alarms(rows(GRPO, *swinging))] == [("truncated", None)]


def test_the_message_says_what_was_seen_and_what_to_try() -> None:
    (alarm,) = alarms(rows(GRPO, *[{"completions/clipped_ratio": 0.61}] * 5))
    assert alarm.message.startswith("61% of the completions are cut off")
    assert "grpo.max_completion" in alarm.message
    (alarm,) = alarms(rows(SFT, *[{"loss": 1.4}] * 5))
    assert "from 0.700 to 1.400" in alarm.message


def test_settings_that_are_named_exist() -> None:
    """A message that sends its reader to a setting that is not there helps nobody."""
    found = [a for kind, well, change in BAD for a in alarms(rows(well, *[change] * 5))]
    named = {name for alarm in found for name in re.findall(r"grpo\.(\w+)", alarm.message)}
    assert {"kl", "learning_rate", "temperature"} <= named <= set(GrpoSettings.model_fields)
    assert {rule.kind for rule in RULES} == {a.kind for a in found}


def test_a_value_that_matters_to_nobody_may_be_missing() -> None:
    assert alarms(rows(GRPO, {NOT_FINITE: ["clip_ratio/low_min"]})) == []
    (alarm,) = alarms(rows(GRPO, {NOT_FINITE: ["clip_ratio/low_min", "rewards/bbox_iou/mean"]}))
    assert alarm.message.startswith("rewards/bbox_iou/mean not finite")


def test_rules_about_rollouts_leave_the_cold_start_alone_and_the_other_way_round() -> None:
    assert alarms(rows(SFT, *[{"entropy": 0.001}] * 9)) == []
    assert alarms(rows(GRPO, *[{"loss": 5.0}] * 9)) == []


def test_going_back_to_a_checkpoint_forgets_what_came_after_it() -> None:
    log = AlarmLog()
    for row in rows(GRPO, *[{"kl": 2.0}] * 5):
        log.see(row)
    assert [a.kind for a in log.found] == ["kl_runaway"]
    for row in rows(GRPO, *[{}] * 5):  # as a worker writes its file anew when it goes on from step 10
        assert log.see(row) == []
    assert log.found == []
    again = [a for row in rows(GRPO, *[{"kl": 2.0}] * 5)[10:] for a in log.see(row)]
    assert [a.kind for a in again] == ["kl_runaway"]


def test_two_rows_of_a_step_are_both_read() -> None:
    """A validation's row has the step of the row before it."""
    both = [r for n in range(1, 9) for r in ({"step": n, **GRPO, "kl": 2.0}, {"step": n, "eval_reward": 1.0})]
    assert [a.kind for a in alarms(both)] == ["kl_runaway"]


NAME = st.sampled_from([*GRPO, *SFT, NOT_FINITE, "rewards/base_keys/mean", "step", "other"])
ANY = (
    st.floats()
    | st.integers()
    | st.none()
    | st.text(max_size=3)
    | st.lists(st.text(max_size=3) | st.none(), max_size=2)
)


@given(st.lists(st.dictionaries(NAME, ANY), max_size=30))
def test_no_row_raises(made: list[dict[str, Any]]) -> None:
    numbered = [{**row, "step": n} for n, row in enumerate(made)]
    for course in (made, numbered):
        json.dumps([a.__dict__ for a in alarms(course)], allow_nan=False)


@given(
    st.lists(
        st.fixed_dictionaries({name: st.floats(allow_nan=False, allow_infinity=False) for name in GRPO}), max_size=40
    )
)
def test_no_kind_is_open_twice_and_none_is_cleared_before_it_was_raised(made: list[dict[str, float]]) -> None:
    found = alarms([{"step": n, **row} for n, row in enumerate(made)])
    for kind in {a.kind for a in found}:
        of_kind = [a for a in found if a.kind == kind]
        for one, following in pairwise(of_kind):
            assert one.cleared is not None and one.step < one.cleared <= following.step
        assert of_kind[-1].cleared is None or of_kind[-1].cleared > of_kind[-1].step


@given(st.lists(st.fixed_dictionaries({name: st.floats(0, 5) for name in GRPO}), max_size=40))
def test_row_by_row_is_the_same_as_all_at_once(made: list[dict[str, float]]) -> None:
    course = [{"step": n, **row} for n, row in enumerate(made)]
    log = AlarmLog()
    raised = [a for row in course for a in log.see(row)]
    assert log.found == alarms(course)
    assert [(a.kind, a.step) for a in raised] == [(a.kind, a.step) for a in log.found]


def test_written_and_read_back(tmp_path: Path) -> None:
    found = [Alarm("kl_runaway", 3, "Because – of ≤ this."), Alarm("truncated", 4, "x", cleared=9)]
    write_alarms(tmp_path / ALARMS, found)
    assert read_alarms(tmp_path) == found
    write_alarms(tmp_path / ALARMS, [])
    assert list(tmp_path.iterdir()) == [] and read_alarms(tmp_path) == []


def test_the_guide_names_every_alarm() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "watching.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", guide[guide.index("## Alarms") :], re.MULTILINE))
    assert named == {rule.kind for rule in RULES} | {"image_dropped"}
