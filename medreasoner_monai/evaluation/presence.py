"""Whether a target is there at all: regions given where there is none, and "nothing there" said where there is one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.evaluation.rates import rate
from medreasoner_monai.evaluation.records import Record, clusters

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
        "false_positive_rate": _rate(absent, false_positives(absent)),
        "by_kind": {kind: _rate(kinds[kind], false_positives(kinds[kind])) for kind in sorted(kinds)},
        "false_negative_rate": _rate(records, false_negatives(records)),
    }
    curve = presence_curve(records)
    return report | ({"curve": curve} if curve else {})


def presence_curve(records: Sequence[Record]) -> list[dict[str, float]]:
    """Both rates for every threshold on confidence that changes one, at most about a hundred; empty without confidence.

    Each point has ``threshold`` and two rates with the ends of their 95 % intervals (``…_low``, ``…_high``):
    ``false_positive_rate`` (readable answers on absent targets whose region has at least
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
            **_point("false_positive", wrong >= limit, clusters(absent)),
            **_point("false_negative", right < limit, clusters(present)),
        }
        for limit in [*limits[:-1:every], limits[-1]]
    ]


def _point(name: str, happened: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, float]:
    found = rate(happened.tolist(), groups)
    assert found is not None
    values = found.as_dict()
    return {f"{name}_rate": values["mean"], f"{name}_low": values["low"], f"{name}_high": values["high"]}


def _confidence(record: Record) -> float:
    """In the region; below every threshold without one."""
    return record.confidence if record.answered and record.confidence is not None else -1.0


def _rate(records: Sequence[Record], happened: dict[str, bool]) -> dict[str, float] | None:
    counted = [r for r in records if r.id in happened]
    found = rate([happened[r.id] for r in counted], clusters(counted))
    return None if found is None else found.as_dict()
