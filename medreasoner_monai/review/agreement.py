"""How far readers agree, part by part, with intervals over patients, and how they fare on gold items.

Verdicts on one patient's pictures are not independent, so patients (``group``) are resampled as wholes: percentile
intervals of a cluster bootstrap (Field & Welsh, JRSS B 69, 2007).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import cohen_kappa_score

from medreasoner_monai.data.review.applied import contents_of
from medreasoner_monai.data.review.events import FIELDS, Event, Field
from medreasoner_monai.data.review.outcome import content_of, dice
from medreasoner_monai.review.board import Board

_RESAMPLES = 1000
_LABELS = ("accept", "edit", "reject")


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval; NaN where the verdicts do not allow one."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "–"
        return f"{self.value:.2f}" + ("" if np.isnan(self.low) else f" [{self.low:.2f}, {self.high:.2f}]")


@dataclass(frozen=True)
class Agreement:
    """Of two readers' verdicts on one part, over all pairs of readers.

    ``pairs`` counts the pairs of verdicts and ``patients`` their groups. ``percent`` is the share of equal verdicts,
    ``kappa`` Cohen's (chance-corrected), ``mask_dice`` the mean overlap of the masks that the two would keep.
    """

    pairs: int
    patients: int
    percent: Interval
    kappa: Interval
    mask_dice: Interval | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON; NaN becomes null."""
        facts = asdict(self)
        for name in ("percent", "kappa", "mask_dice"):
            if facts[name] is not None:
                facts[name] = {k: None if np.isnan(v) else round(v, 4) for k, v in facts[name].items()}
        return facts


@dataclass
class _Pairs:
    a: list[str]
    b: list[str]
    groups: list[str]
    dice: list[float]
    dice_groups: list[str]


def agreement(board: Board) -> dict[Field, Agreement]:
    """For each part on which two readers have judged the same samples."""
    board.refresh()
    pairs = {field: _Pairs([], [], [], [], []) for field in FIELDS}
    for entry in board.data.entries:
        heads = [e for e in board.heads(entry.id) if e.role == "reader"]
        for field in FIELDS:
            here = sorted((e for e in heads if e.field == field), key=lambda e: e.reviewer)
            for first, second in combinations(here, 2):
                found = pairs[field]
                found.a.append(first.verdict)
                found.b.append(second.verdict)
                found.groups.append(entry.group)
                if field == "mask" and (overlap := _overlap(board, entry.id, first, second)) is not None:
                    found.dice.append(overlap)
                    found.dice_groups.append(entry.group)
    return {field: _agreement(found, field) for field, found in pairs.items() if found.a}


def _overlap(board: Board, name: str, first: Event, second: Event) -> float | None:
    if "reject" in (first.verdict, second.verdict) or (sample := board.data.get(name)) is None:
        return None
    masks = [content_of(e, contents_of(sample)["mask"], board.store.value) for e in (first, second)]
    a, b = (np.asarray(m) for m in masks)
    return dice(a, b)


def _agreement(pairs: _Pairs, field: Field) -> Agreement:
    a, b = np.array(pairs.a), np.array(pairs.b)
    equal = (a == b).astype(float)

    def kappa(weights: NDArray[np.float64]) -> float:
        used = weights > 0
        if len({*a[used], *b[used]}) < 2:
            return float("nan")  # one verdict alone: chance agrees as well
        return float(cohen_kappa_score(a[used], b[used], labels=_LABELS, sample_weight=weights[used]))

    overlaps = np.array(pairs.dice)
    return Agreement(
        len(a),
        len(set(pairs.groups)),
        clustered(lambda w: float(np.average(equal, weights=w)), pairs.groups),
        clustered(kappa, pairs.groups),
        clustered(lambda w: float(np.average(overlaps, weights=w)), pairs.dice_groups)
        if field == "mask" and len(overlaps)
        else None,
    )


def clustered(
    figure: Callable[[NDArray[np.float64]], float], groups: Sequence[str], *, resamples: int = _RESAMPLES, seed: int = 0
) -> Interval:
    """A figure over weighted items, and its 95 % interval when groups of items are resampled.

    Parameters
    ----------
    figure:
        Takes a weight per item, ``(N,)``: how often the item's group was drawn.
    groups:
        The group of each item, ``(N,)``.
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    count = int(member.max()) + 1
    value = figure(np.ones(len(member)))
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=resamples)
    figures = np.array([figure(draw[member].astype(float)) for draw in draws])
    figures = figures[~np.isnan(figures)]
    if count < 2 or np.isnan(value) or not figures.size:
        return Interval(value, float("nan"), float("nan"))
    low, high = np.percentile(figures, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def gold_scores(board: Board) -> Mapping[str, Mapping[Field, tuple[int, int]]]:
    """By reader and part: how many verdicts on gold items are right, and how many there are."""
    board.refresh()
    found: dict[str, dict[Field, tuple[int, int]]] = {}
    for name, known in (board.plan.gold.verdicts if board.plan.gold else {}).items():
        for event in board.heads(name):
            if event.role == "reader" and event.field in known:
                fields = found.setdefault(event.reviewer, {})
                right, total = fields.get(event.field, (0, 0))
                fields[event.field] = right + (event.verdict == known[event.field]), total + 1
    return found
