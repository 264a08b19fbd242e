"""Two evaluations held against each other, overall and group by group; many in a row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.command import Finished
from medreasoner_monai.evaluation.metrics import compare, measures
from medreasoner_monai.evaluation.records import Record, by_id

GROUPS = ("supercategory", "category", "modality", "source")


@dataclass(frozen=True)
class GroupLoss:
    """A group in which the second is worse by more than the floor."""

    kind: str
    name: str
    difference: float
    low: float
    high: float
    n: int


def paired_differences(a: Finished, b: Finished, *, resamples: int = 2000) -> dict[str, dict[str, float]]:
    """``b - a`` for every measure, paired by sample, with 95 % bootstrap intervals clustered by patient.

    Raises
    ------
    InputError
        If the two were not evaluated on the same data.
    """
    first, second = a.about.get("dataset"), b.about.get("dataset")
    if first != second:
        raise InputError(
            f"{a.path} and {b.path} were evaluated on different data ({str(first)[:12]}… and {str(second)[:12]}…); "
            "evaluate both on one data set"
        )
    return compare(a.records, b.records, resamples=resamples)


def losses(
    a: Sequence[Record], b: Sequence[Record], floor: float, *, measure: str = "box_iou", resamples: int = 2000
) -> list[GroupLoss]:
    """Groups whose mean of ``measure`` got worse by more than ``floor`` from ``a`` to ``b``, the worst first.

    Raises
    ------
    InputError
        If the measure is unknown, or the samples differ.
    """
    known = measures(next((r for r in a if r.present), a[0]))
    if measure not in known:
        raise InputError(f"no measure {measure!r}; known: {', '.join(known)}")
    second = by_id(b)
    found = []
    for kind in GROUPS:
        groups: dict[str, list[Record]] = defaultdict(list)
        for record in a:
            if name := getattr(record, kind):
                groups[name].append(record)
        for name, records in groups.items():
            if not any(r.present for r in records):
                continue
            others = [second[r.id] for r in records if r.id in second]
            change = compare(records, others, resamples=resamples)[measure]
            worse = change["difference"] if measure.startswith("hd95/") else -change["difference"]
            if worse > floor:
                found.append(
                    GroupLoss(kind, name, change["difference"], change["low"], change["high"], int(change["n"]))
                )
    return sorted(found, key=lambda g: -abs(g.difference))
