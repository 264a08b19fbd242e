"""The gate: may this model become the champion? Decided on held-out samples, written down either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.bootstrap import paired_difference
from medreasoner_monai.evaluation.metrics import mistake_rate
from medreasoner_monai.evaluation.mistakes import compare_mistakes, paired_clusters
from medreasoner_monai.evaluation.records import Record, by_id
from medreasoner_monai.evaluation.regions import headline
from medreasoner_monai.settings.config import GateSettings

_RATES = {
    "false_positive_rate": (
        "false positives",
        "the share of absent targets that get a region",
        "max_false_positive",
        "readable answer on an absent target",
    ),
    "false_negative_rate": (
        "false negatives",
        'the share of present targets of which the answer is "nothing there"',
        "max_false_negative",
        "readable answer on a present target",
    ),
    "left_right_confusion": (
        "left/right confusion",
        "the share of regions on the other side",
        "max_left_right_confusion",
        "region for a target with a side",
    ),
}
"""By rate of mistakes: the check's name, what is held against the limit, the limit's setting, and what it needs."""


@dataclass(frozen=True)
class Check:
    """One condition: the value found, the limit it is held against, and the whole as a sentence.

    ``value`` is None where the test split has nothing to measure it on; such a check is skipped and passes.
    """

    name: str
    passed: bool
    value: float | None
    limit: float
    text: str


@dataclass(frozen=True)
class Decision:
    """``promote`` or ``refuse``, and why."""

    decision: str
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def decide(
    candidate: Mapping[str, Any],
    blank: Mapping[str, Any],
    settings: GateSettings,
    *,
    candidate_records: Sequence[Record] = (),
    champion_records: Sequence[Record] | None = None,
) -> Decision:
    """Hold a candidate against fixed limits, against the blank-image baseline and against the champion, if any.

    Parameters
    ----------
    candidate, blank:
        ``metrics.json`` of the candidate, with the pictures and without.
    champion_records:
        The champion's results on the same samples; None where there is no champion.
    """
    iou = float(candidate["overall"]["box_iou"]["mean"])
    over_blank = iou - float(blank["overall"]["box_iou"]["mean"])
    failures = float(candidate["failure_rate"])
    checks = [
        _at_least("box IoU", iou, settings.min_box_iou, "the candidate's mean box IoU"),
        _at_most("unreadable answers", failures, settings.max_failure_rate, "the share of unreadable answers"),
        _at_least("over blank image", over_blank, settings.min_over_blank, "what the picture adds to the mean box IoU"),
        *(_mistakes(name, candidate, settings) for name in _RATES),
    ]
    if champion_records is not None:
        checks += _against(champion_records, candidate_records, settings)
    failed = [c.text for c in checks if not c.passed]
    first = "there is no champion yet, and " if champion_records is None else ""
    return Decision("refuse" if failed else "promote", tuple(failed) or (f"{first}every check passed",), tuple(checks))


def _mistakes(name: str, candidate: Mapping[str, Any], settings: GateSettings) -> Check:
    title, what, field, on = _RATES[name]
    limit = float(getattr(settings, field))
    found = mistake_rate(candidate, name)
    if found is None:
        return Check(title, True, None, limit, f"skipped: there is no {on} in the test split, so {what} is not known")
    text = (
        f"{what} is {found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of {found['n']:.0f}, at most "
        f"{limit:.3f} is allowed"
    )
    return Check(title, found["mean"] <= limit, found["mean"], limit, text)


def _against(champion: Sequence[Record], candidate: Sequence[Record], settings: GateSettings) -> list[Check]:
    old, new = by_id(champion), by_id(candidate)
    if set(old) != set(new):
        raise InputError("champion and candidate were evaluated on different samples; evaluate both on one test split")
    ids = sorted(r.id for r in headline(champion))
    groups = paired_clusters(champion, candidate)
    gain = paired_difference([old[i].box_iou for i in ids], [new[i].box_iou for i in ids], [groups[i] for i in ids])
    checks = [
        Check(
            "not worse than the champion",
            gain.low >= -settings.tolerance,
            gain.low,
            -settings.tolerance,
            f"box IoU against the champion {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]; its lower end may not "
            f"be under {-settings.tolerance:+.3f}",
        )
    ]
    for name, more in compare_mistakes(champion, candidate).items():
        title, what, _, _ = _RATES[name]
        checks.append(
            Check(
                f"{title}, not worse than the champion",
                more.high <= settings.rate_tolerance,
                more.high,
                settings.rate_tolerance,
                f"{what} against the champion {more.mean:+.3f} [{more.low:+.3f}, {more.high:+.3f}] over {more.n} "
                f"samples; its upper end may not be over {settings.rate_tolerance:+.3f}",
            )
        )
    return checks


def _at_least(name: str, value: float, limit: float, what: str) -> Check:
    return Check(name, value >= limit, value, limit, f"{what} is {value:.3f}, at least {limit:.3f} is asked for")


def _at_most(name: str, value: float, limit: float, what: str) -> Check:
    return Check(name, value <= limit, value, limit, f"{what} is {value:.3f}, at most {limit:.3f} is allowed")
