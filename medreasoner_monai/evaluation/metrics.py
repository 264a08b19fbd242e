"""From per-sample records to ``metrics.json``: means with intervals, overall and by group, and failures by reason."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import confidence_report
from medreasoner_monai.evaluation.bootstrap import mean_interval, paired_difference
from medreasoner_monai.evaluation.records import Record, by_id


def measures(record: Record) -> dict[str, float]:
    """All the figures of one sample by name."""
    masks = {f"dice/{name}": value for name, value in record.masks.items()}
    return {"box_iou": record.box_iou, "point_dice": record.point_dice, **masks, **record.more}


def summarise(records: Sequence[Record], *, resamples: int = 2000) -> dict[str, Any]:
    """The content of ``metrics.json`` (see docs/architecture.md)."""
    failed = [r for r in records if not r.answered]
    confidence = confidence_report(records)
    return {
        "samples": len(records),
        "failure_rate": round(len(failed) / len(records), 5),
        "failures": dict(Counter(r.reason for r in failed).most_common()),
        "overall": _means(records, resamples),
        "by_supercategory": _by(records, lambda r: r.supercategory, resamples),
        "by_category": _by(records, lambda r: r.category, resamples),
        "by_modality": _by(records, lambda r: r.modality, resamples),
    } | ({} if confidence is None else {"confidence": confidence})


def compare(a: Sequence[Record], b: Sequence[Record], *, resamples: int = 2000) -> dict[str, dict[str, float]]:
    """``b - a`` for every measure both have, paired by sample, with intervals.

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
    ids = sorted(first)
    names = [n for n in measures(a[0]) if n in measures(b[0])]
    out = {}
    for name in names:
        values = [(measures(first[i])[name], measures(second[i])[name]) for i in ids]
        estimate = paired_difference([v[0] for v in values], [v[1] for v in values], resamples=resamples)
        rounded = estimate.as_dict()
        out[name] = {"difference": rounded.pop("mean"), **rounded}
    return out


def _means(records: Sequence[Record], resamples: int) -> dict[str, dict[str, float]]:
    columns = [measures(r) for r in records]
    return {n: mean_interval([c[n] for c in columns], resamples=resamples).as_dict() for n in columns[0]}


def _by(records: Sequence[Record], key: Callable[[Record], str], resamples: int) -> dict[str, Any]:
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return {name: _means(groups[name], resamples) for name in sorted(groups)}
