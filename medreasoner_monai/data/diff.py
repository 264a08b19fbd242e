"""How one data set differs from another, sample by sample, and what that means for the gate.

Samples are the same where their ids are. The first data set is written to a small database on the disk (ids, digests
and encoded masks), and the second is read against it row by row, so that memory does not grow with either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medreasoner_monai.data.census import split_files
from medreasoner_monai.data.diff_index import Index, Row, rows
from medreasoner_monai.data.draw import Draw
from medreasoner_monai.data.schema import decode_mask
from medreasoner_monai.data.splits import SPLITS

KINDS = ("added", "removed", "moved", "picture", "question", "mask", "answer", "trace", "labels")
"""``moved`` to another split; ``answer`` is box and points; ``labels`` are category, modality, group and the like."""
_SCORED = frozenset({"added", "removed", "moved", "picture", "question", "mask", "answer"})
"""What changes a figure that was measured on a sample."""
_COMPARED = ("picture", "question", "answer", "trace", "labels")
_EXAMPLES = 10
_CLOSE = 0.9
"""Dice from which two masks count as nearly the same."""


@dataclass(frozen=True)
class Change:
    """One sample that differs; ``dice`` of its two masks where they do."""

    id: str
    category: str
    split: str
    kinds: tuple[str, ...]
    dice: float | None = None


@dataclass
class Difference:
    """Everything that differs between two data sets.

    Attributes
    ----------
    samples:
        In the first and in the second data set.
    counts:
        By kind (:data:`KINDS`); a sample may have several.
    categories:
        The same, by category.
    moves:
        Samples by the split they left and the one they are in now.
    test:
        Samples of either test split that are added, removed or changed in what is scored, by kind.
    trained_before:
        Samples of the second test split whose patient is in the first training split.
    dice:
        Of the masks that changed: least, mean, and how many lie under 0.9; empty where none did.
    examples:
        A few changes of each kind, drawn by a digest of their ids.
    """

    samples: tuple[int, int] = (0, 0)
    counts: Counter[str] = field(default_factory=Counter)
    categories: dict[str, Counter[str]] = field(default_factory=dict)
    moves: Counter[str] = field(default_factory=Counter)
    test: Counter[str] = field(default_factory=Counter)
    trained_before: int = 0
    dice: dict[str, float] = field(default_factory=dict)
    examples: dict[str, list[Change]] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return not self.counts

    @property
    def gate(self) -> list[str]:
        """What the difference means for the gate, in sentences."""
        return list(_meaning(self))

    def facts(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "same": self.same,
            "samples": {"a": self.samples[0], "b": self.samples[1]},
            "changes": {kind: self.counts[kind] for kind in KINDS if self.counts[kind]},
            "categories": {name: dict(c) for name, c in sorted(self.categories.items())},
            "moves": dict(sorted(self.moves.items())),
            "mask_dice": self.dice,
            "test": dict(self.test),
            "trained_before": self.trained_before,
            "gate": self.gate,
            "examples": {kind: [vars(c) for c in found] for kind, found in self.examples.items()},
        }


def compare(first: Path, second: Path) -> Difference:
    """Compare two data sets: curated folders, or single U-MRG Parquet files.

    Raises
    ------
    InputError
        If one is not a data set, a row lacks a column, or an id stands twice in one data set.
    """
    files = split_files(first), split_files(second)
    found = Difference()
    draws: dict[str, Draw[Change]] = {}
    dice = _Dice()
    with Index() as index:
        for row in rows(files[0]):
            index.add(row)
        total = 0
        for row in rows(files[1]):
            total += 1
            found.trained_before += row.split == "test" and index.trains_on(row.group)
            before = index.take(row)
            if before is None:
                _add(found, draws, dice, Change(row.id, row.category, row.split, ("added",)), row.split)
            elif (change := _change(before, row)) is not None:
                _add(found, draws, dice, change, before.split)
        count = index.count
        for identifier, split, category in index.left():
            _add(found, draws, dice, Change(identifier, category, split, ("removed",)), split)
    found.samples = count, total
    found.dice = dice.facts()
    found.examples = {kind: list(draws[kind]) for kind in KINDS if kind in draws}
    return found


class _Dice:
    """Least, mean, and how many are low, without keeping the values."""

    def __init__(self) -> None:
        self.count, self.total, self.least, self.low = 0, 0.0, 1.0, 0

    def add(self, value: float) -> None:
        self.count, self.total = self.count + 1, self.total + value
        self.least, self.low = min(self.least, value), self.low + (value < _CLOSE)

    def facts(self) -> dict[str, float]:
        if not self.count:
            return {}
        return {
            "masks": self.count,
            "mean": round(self.total / self.count, 4),
            "least": round(self.least, 4),
            "under_0.9": self.low,
        }


def _change(old: Row, new: Row) -> Change | None:
    """How two samples of one id differ; None where they do not."""
    kinds = {kind for kind in _COMPARED if getattr(old, kind) != getattr(new, kind)}
    dice = None
    if old.mask != new.mask and (dice := _mask_dice(old, new)) is not None:
        kinds.add("mask")
    if old.split != new.split and {old.split, new.split} <= set(SPLITS):
        kinds.add("moved")
    if not kinds:
        return None
    return Change(new.id, new.category, new.split, tuple(kind for kind in KINDS if kind in kinds), dice)


def _mask_dice(old: Row, new: Row) -> float | None:
    """Dice of two encoded masks; None where their pixels are equal. Masks of two sizes share nothing."""
    first = decode_mask(old.mask, f"sample {old.id}, mask")
    second = decode_mask(new.mask, f"sample {new.id}, mask")
    if first.shape != second.shape:
        return 0.0
    if np.array_equal(first, second):
        return None
    return float(2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second)))


def _add(found: Difference, draws: dict[str, Draw[Change]], dice: _Dice, change: Change, before: str) -> None:
    for kind in change.kinds:
        found.counts[kind] += 1
        found.categories.setdefault(change.category, Counter())[kind] += 1
        draws.setdefault(kind, Draw(_EXAMPLES)).show(change.id, change)
        if kind in _SCORED and "test" in (before, change.split):
            found.test[kind] += 1
    if change.dice is not None:
        dice.add(change.dice)
    if "moved" in change.kinds:
        found.moves[f"{before} to {change.split}"] += 1


def _meaning(found: Difference) -> Iterator[str]:
    if found.same:
        yield "The data sets are the same: figures measured on one hold for the other."
        return
    if not found.test:
        yield (
            "What the test split scores is unchanged: a model trained on either data set can be compared with the "
            "champion on the figures there are."
        )
    else:
        total = ", ".join(f"{count} {kind}" for kind, count in sorted(found.test.items()))
        yield (
            f"The test split changed ({total}): figures measured on the two cannot be compared. The gate must evaluate "
            "the champion anew on the second test split, beside the candidate."
        )
    if found.trained_before:
        yield (
            f"{found.trained_before} samples of the second test split are of patients in the first training split: a "
            "champion trained on the first data set has seen them, and its figures on them are too good."
        )
