"""Whether a target is there at all: regions given where there is none, and "nothing there" said where there is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from medreasoner_monai.evaluation.rates import rate
from medreasoner_monai.evaluation.records import Record

UNSTATED = "unstated"
"""Kind of an absent target of which the data does not say why it is not there."""
_POINTS = 100


def false_positives(records: Sequence[Record]) -> dict[str, bool]:
    """By id, whether a region was given although the target is absent; of readable answers on absent targets."""
    return {r.id: r.answered for r in records if not r.present and not r.unreadable}


def false_negatives(records: Sequence[Record]) -> dict[str, bool]:
    """By id, whether "nothing there" was said although the target is present; of readable answers on present targets.

    A region withheld because its confidence was too low is neither: the finding is an abstention.
    """
    return {r.id: r.said_nothing for r in records if r.present and not r.unreadable}


def presence_report(records: Sequence[Record]) -> dict[str, Any]:
    """What ``metrics.json`` says of absent targets.

    Returns
    -------
    dict
        ``samples``, how many targets are absent; ``false_positive_rate`` over them, also ``by_kind`` of absence, and
        ``false_negative_rate`` over present ones (estimates with 95 % intervals, None of nothing). Unreadable answers
        are in neither. ``curve``, where regions have a confidence and targets are absent: both rates for thresholds
        under which regions are withheld; a present target whose region is withheld counts as missed there.
    """
    absent = [r for r in records if not r.present]
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in absent:
        kinds[record.absent or UNSTATED].append(record)
    report = {
        "samples": len(absent),
        "false_positive_rate": _rate(false_positives(absent)),
        "by_kind": {kind: _rate(false_positives(kinds[kind])) for kind in sorted(kinds)},
        "false_negative_rate": _rate(false_negatives(records)),
    }
    curve = presence_curve(records)
    return report | ({"curve": curve} if curve else {})


def presence_curve(records: Sequence[Record]) -> list[dict[str, float]]:
    """Both rates for every threshold on confidence that changes one, at most about a hundred; empty without confidence.

    Each point has ``threshold``, ``false_positive_rate`` (readable answers on absent targets whose region has at least
    that confidence) and ``false_negative_rate`` (those on present targets that say "nothing", or whose region has less
    and is withheld). A region that was withheld already stays so.
    """
    readable = [r for r in records if not r.unreadable]
    present = [r for r in readable if r.present]
    absent = [r for r in readable if not r.present]
    regions = [r for r in readable if r.answered]
    if not (present and absent and regions) or any(r.confidence is None for r in regions):
        return []
    wrong = np.array([_confidence(r) for r in absent])
    right = np.array([_confidence(r) for r in present])
    limits = sorted({0.0, *(_confidence(r) for r in regions)})
    every = max(1, len(limits) // _POINTS)
    return [
        {
            "threshold": float(limit),
            "false_positive_rate": round(float((wrong >= limit).mean()), 5),
            "false_negative_rate": round(float((right < limit).mean()), 5),
        }
        for limit in [*limits[:-1:every], limits[-1]]
    ]


def _confidence(record: Record) -> float:
    """In the region; below every threshold without one."""
    return record.confidence if record.answered and record.confidence is not None else -1.0


def _rate(happened: dict[str, bool]) -> dict[str, float] | None:
    found = rate(happened.values())
    return None if found is None else found.as_dict()
