"""The rules: what is judged, the limits, and why they are where they are.

Limits are set so that none of the project's own trainings that went well raised anything, with room between the limit
that raises and the one that clears.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from medreasoner_monai.training.history import ENOUGH, WINDOW, History, Limits, Row, Rule
from medreasoner_monai.training.rows import NOT_FINITE, number

ROLLOUTS = "completions/mean_length"
"""All rows of rollouts have it, and no others."""

_MATTERS = ("loss", "grad_norm", "reward", "reward_std", "kl", "entropy")
_SPIKE, _RECENT, _BEFORE = 5.0, 10, 30


def above(limit: float, clear: float) -> Limits:
    """Raised above ``limit``, cleared below ``clear``."""
    return Limits(bad=lambda h: h.now > limit, good=lambda h: h.now < clear)


def below(limit: float, clear: float) -> Limits:
    """Raised at or below ``limit``, cleared above ``clear``."""
    return Limits(bad=lambda h: h.now <= limit, good=lambda h: h.now > clear)


def says(text: str) -> Callable[[History, Row], str]:
    """A message with the present and the first value in it."""
    return lambda h, row: text.format(now=h.now, start=h.start, best=h.best)


def broken(row: Row) -> list[str]:
    """The values of a row that were not finite and without which nothing can be learnt."""
    names: Any = row.get(NOT_FINITE)
    return [n for n in names if n in _MATTERS or str(n).startswith("rewards/")] if isinstance(names, list) else []


def readable(row: Row) -> bool:
    """Whether nearly all answers of a round are in the format, with a region or without."""
    score = number(row.get("rewards/format_answer/mean"))
    return score is not None and score >= 0.8


def collapse_limit(start: float) -> float:
    """Entropy in nats a token at which the completions of a group are nearly the same.

    A hundredth of a nat is one nat over a hundred tokens: two or three different completions. A model that starts with
    more is warned earlier, at a fifth of its start and at most at 0.05.
    """
    return max(0.01, min(0.05, start / 5))


def spikes(history: History) -> int:
    """How many of the last ten gradient norms are over five times what was usual before them."""
    before = history.values[-_BEFORE:-_RECENT]
    if len(before) < WINDOW:
        return 0
    usual = median(before)
    return sum(v > _SPIKE * usual and v > 0 for v in history.last(_RECENT))


def unreadable(column: str, what: str) -> Rule:
    """A format reward of zero. 0.2 is the least a block of the answer can earn that is there at all."""
    return Rule(
        "format_zero",
        f"rewards/{column}/mean",
        below(0.05, 0.2),
        says=says(
            f"The reward {column} is {{now:.2f}}: {what}; check that grpo.max_completion leaves room for an answer, "
            "that the prompt is the one of the cold start, and give the cold start more steps."
        ),
    )


RULES = (
    Rule(
        "not_finite",
        NOT_FINITE,
        value=lambda row: float(bool(broken(row))),
        # A single one is enough: weights that took in a NaN stay lost.
        limits=Limits(bad=lambda h: h.values[-1] > 0, good=lambda h: not any(h.last(WINDOW))),
        enough=1,
        says=lambda h, row: (
            f"{', '.join(broken(row))} not finite: the step was too large or the numbers overflowed; lower the "
            "learning rate, go back to the last checkpoint, and if a reward is named look at what it was given for."
        ),
    ),
    # At four fifths, of sixteen questions a round about three are left to learn from.
    Rule(
        "equal_rewards",
        "frac_reward_zero_std",
        above(0.8, 0.6),
        says=says(
            "In {now:.0%} of the groups all completions earn the same and teach nothing: with low rewards the "
            "questions are too hard or the format is not learnt (a longer cold start), with high ones too easy; "
            "try a higher grpo.temperature or more grpo.rollouts."
        ),
    ),
    Rule(
        "entropy_collapse",
        "entropy",
        needs=ROLLOUTS,
        limits=Limits(
            bad=lambda h: h.now < collapse_limit(h.start), good=lambda h: h.now > 2 * collapse_limit(h.start)
        ),
        says=says(
            "Entropy is {now:.3f} nats a token ({start:.3f} at the start): the model always writes the same and finds "
            "nothing better any more; lower grpo.learning_rate, raise grpo.kl or grpo.temperature."
        ),
    ),
    # Twice the start alone would be nothing for a settled model, half a nat alone nothing for an unsettled one.
    Rule(
        "entropy_explosion",
        "entropy",
        needs=ROLLOUTS,
        limits=Limits(
            bad=lambda h: h.now > 2 * h.start and h.now > h.start + 0.5,
            good=lambda h: h.now < 1.5 * h.start or h.now < h.start + 0.25,
        ),
        says=says(
            "Entropy rose from {start:.2f} to {now:.2f} nats a token: the model is losing what it knew; lower "
            "grpo.learning_rate or grpo.temperature, or raise grpo.kl."
        ),
    ),
    # Trainings that went well ended below 0.1; at half a nat a token nothing of a long completion is the cold start's.
    Rule(
        "kl_runaway",
        "kl",
        above(0.5, 0.25),
        needs=ROLLOUTS,
        says=says(
            "The KL to the cold start is {now:.2f} nats a token: the model leaves it, often after a reward it can "
            "cheat; raise grpo.kl, lower grpo.learning_rate, and read the completions."
        ),
    ),
    # A completion that is cut off has no answer and earns nothing, whatever it saw.
    Rule(
        "truncated",
        "completions/clipped_ratio",
        above(0.25, 0.1),
        says=says(
            "{now:.0%} of the completions are cut off at the length limit and cannot be answers: raise "
            "grpo.max_completion, or let the cold start teach when to stop."
        ),
    ),
    unreadable("format_answer", "hardly a completion has an answer block"),
    unreadable("format_think", "hardly a completion has a think block"),
    unreadable("base_keys", "hardly a completion has an answer with its keys"),
    # The box's overlap earns 0.08 or more as soon as a region can be read, however wrong it is.
    Rule(
        "format_zero",
        "rewards/bbox_iou/mean",
        below(0.0, 0.01),
        value=lambda row: None if readable(row) else row.get("rewards/bbox_iou/mean"),
        says=says(
            "No answer of the last rounds could be read: look at the completions for what they lack, and give the cold "
            "start more steps."
        ),
    ),
    Rule(
        "always_nothing",
        "rewards/bbox_iou/mean",
        below(0.02, 0.04),
        value=lambda row: row.get("rewards/bbox_iou/mean") if readable(row) else None,
        says=says(
            "The answers can be read but hardly one has a region (box reward {now:.3f}): the model says that there is "
            "nothing to find whatever it is asked; lower the share of absent targets in the data, give the cold start "
            "more steps, and check that most questions have a target."
        ),
    ),
    Rule(
        "gradient_spikes",
        "grad_norm",
        limits=Limits(bad=lambda h: spikes(h) >= 3, good=lambda h: spikes(h) == 0),
        enough=_RECENT + WINDOW,
        says=lambda h, row: (
            f"The gradient's norm was over five times the usual in {spikes(h)} of the last ten logged steps, "
            f"{max(h.last(_RECENT)):.3g} at most: lower the learning rate or warm up for longer."
        ),
    ),
    Rule(
        "zero_gradients",
        "grad_norm",
        limits=Limits(bad=lambda h: max(h.last(ENOUGH)) < 1e-8, good=lambda h: h.values[-1] >= 1e-8),
        says=says(
            "The gradient is zero: nothing is learnt, because all rewards of each group are equal or because nothing "
            "that is trained takes part in the answer; see equal_rewards, and what is frozen."
        ),
    ),
    # PPO-like updates clip some per cent; from a third on most of a round's later updates are thrown away.
    Rule(
        "clip_high",
        "clip_ratio/region_mean",
        above(0.3, 0.15),
        says=says(
            "{now:.0%} of the tokens are outside the clipping range, so most of the update is thrown away: lower "
            "grpo.learning_rate or grpo.updates."
        ),
    ),
    Rule(
        "loss_diverging",
        "loss",
        without=ROLLOUTS,  # under GRPO the loss hovers around zero and says nothing
        limits=Limits(
            bad=lambda h: h.best is not None and h.now > 1.3 * h.best + 0.1,
            good=lambda h: h.best is not None and h.now < 1.15 * h.best + 0.05,
        ),
        enough=WINDOW + 1,
        says=says(
            "The loss rose from {best:.3f} to {now:.3f}: the learning rate is too high; lower it or warm up for longer."
        ),
    ),
)
