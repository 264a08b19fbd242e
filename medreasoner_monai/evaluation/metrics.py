"""From per-sample records to ``metrics.json``: means with intervals, overall and by group, and failures by reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import confidence_report
from medreasoner_monai.evaluation.bootstrap import Estimate, mean_interval, paired_difference
from medreasoner_monai.evaluation.mistakes import MISTAKES, compare_mistakes, paired_clusters
from medreasoner_monai.evaluation.presence import presence_report
from medreasoner_monai.evaluation.records import Record, by_id, clusters
from medreasoner_monai.evaluation.regions import headline, many_parts
from medreasoner_monai.evaluation.sides import sides_report


def measures(record: Record) -> dict[str, float]:
    """All the figures of one sample by name."""
    masks = {f"dice/{name}": value for name, value in record.masks.items()}
    return {"box_iou": record.box_iou, "point_dice": record.point_dice, **masks, **record.more}


def summarise(records: Sequence[Record], *, resamples: int = 2000) -> dict[str, Any]:
    """The content of ``metrics.json`` (see docs/architecture.md).

    Means are over the samples whose target is present; where it is absent there is nothing to overlap with. ``overall``
    is over targets of one region, which one box and two points can say (see
    :mod:`~medreasoner_monai.evaluation.regions`); ``by_parts`` has both kinds. Intervals are clustered by ``group``;
    ``ungrouped`` says how many samples have none and count as patients of their own.
    """
    present = [r for r in records if r.present]
    unreadable = [r for r in records if r.unreadable]
    confidence = confidence_report(records)
    return {
        "samples": len(records),
        "present": len(present),
        "failure_rate": round(len(unreadable) / len(records), 5),
        "failures": dict(Counter(r.reason for r in unreadable).most_common()),
        "withheld": sum(r.withheld for r in records),
        "absent": presence_report(records),
        "left_right": sides_report(records),
        "groups": len(set(clusters(records))),
        "ungrouped": sum(not r.group for r in records),
        "overall": _means(headline(records), resamples),
        "by_parts": _by(present, lambda r: "many" if many_parts(r) else "single", resamples),
        "by_supercategory": _by(present, lambda r: r.supercategory, resamples),
        "by_category": _by(present, lambda r: r.category, resamples),
        "by_modality": _by(present, lambda r: r.modality, resamples),
        "by_source": _by([r for r in present if r.source], lambda r: r.source, resamples),
    } | ({} if confidence is None else {"confidence": confidence})


def mistake_rate(metrics: Mapping[str, Any], name: str) -> dict[str, float] | None:
    """The estimate of one of :data:`~medreasoner_monai.evaluation.mistakes.MISTAKES` in ``metrics.json``; None if none.

    Metrics from before these rates were measured have none.
    """
    part = metrics.get("left_right" if name == "left_right_confusion" else "absent") or {}
    found: dict[str, float] | None = part.get("confusion_rate" if name == "left_right_confusion" else name)
    return found


def mistake_means(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The rates of mistakes that were measured, by name."""
    return {name: found["mean"] for name in MISTAKES if (found := mistake_rate(metrics, name)) is not None}


def compare(a: Sequence[Record], b: Sequence[Record], *, resamples: int = 2000) -> dict[str, dict[str, float]]:
    """``b - a`` for every measure and rate of mistakes that both have, paired by sample, with intervals.

    Measures are over the present targets that ``overall`` is over; intervals are clustered by group.

    Raises
    ------
    InputError
        If the two were not evaluated on the same samples, or a sample stands in one twice.
    """
    first, second = by_id(a), by_id(b)
    if set(first) != set(second):
        odd = sorted(set(first) ^ set(second))[:3]
        raise InputError(
            f"the evaluations are of different samples, for example {', '.join(odd)}; evaluate both on one"
        )
    ids = sorted(r.id for r in headline(a))
    groups = paired_clusters(a, b)
    names = [n for n in measures(first[ids[0]]) if n in measures(second[ids[0]])] if ids else []
    out = {}
    for name in names:
        values = [(measures(first[i])[name], measures(second[i])[name]) for i in ids]
        estimate = paired_difference(
            [v[0] for v in values], [v[1] for v in values], [groups[i] for i in ids], resamples=resamples
        )
        out[name] = _difference(estimate)
    mistakes = compare_mistakes(a, b, resamples=resamples)
    return out | {name: _difference(estimate) for name, estimate in mistakes.items()}


def _difference(estimate: Estimate) -> dict[str, float]:
    rounded = estimate.as_dict()
    return {"difference": rounded.pop("mean"), **rounded}


def _means(records: Sequence[Record], resamples: int) -> dict[str, dict[str, float]]:
    columns = [measures(r) for r in records]
    if not columns:
        return {}
    groups = clusters(records)
    return {n: mean_interval([c[n] for c in columns], groups, resamples=resamples).as_dict() for n in columns[0]}


def _by(records: Sequence[Record], key: Callable[[Record], str], resamples: int) -> dict[str, Any]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return {name: _means(groups[name], resamples) for name in sorted(groups)}
