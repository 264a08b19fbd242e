"""The gate: may this model become the champion? Decided on held-out samples, written down either way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.bootstrap import paired_difference
from medreasoner_monai.evaluation.records import Record, by_id
from medreasoner_monai.settings.config import GateSettings


@dataclass(frozen=True)
class Check:
    """One condition: the value found, the limit it is held against, and the whole as a sentence."""

    name: str
    passed: bool
    value: float
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
    ]
    if champion_records is not None:
        checks.append(_against(champion_records, candidate_records, settings.tolerance))
    failed = [c.text for c in checks if not c.passed]
    first = "there is no champion yet, and " if champion_records is None else ""
    return Decision("refuse" if failed else "promote", tuple(failed) or (f"{first}every check passed",), tuple(checks))


def _against(champion: Sequence[Record], candidate: Sequence[Record], tolerance: float) -> Check:
    old, new = by_id(champion), by_id(candidate)
    if set(old) != set(new):
        raise InputError("champion and candidate were evaluated on different samples; evaluate both on one test split")
    gain = paired_difference([old[i].box_iou for i in sorted(old)], [new[i].box_iou for i in sorted(old)])
    return Check(
        "not worse than the champion",
        gain.low >= -tolerance,
        gain.low,
        -tolerance,
        f"box IoU against the champion {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]; its lower end may not be "
        f"under {-tolerance:+.3f}",
    )


def _at_least(name: str, value: float, limit: float, what: str) -> Check:
    return Check(name, value >= limit, value, limit, f"{what} is {value:.3f}, at least {limit:.3f} is asked for")


def _at_most(name: str, value: float, limit: float, what: str) -> Check:
    return Check(name, value <= limit, value, limit, f"{what} is {value:.3f}, at most {limit:.3f} is allowed")
