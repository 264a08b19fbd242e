"""A column of metrics as it went so far, and what a rule about it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from medreasoner_monai.training.rows import number

WINDOW, ENOUGH = 5, 3
"""A quantity is judged by the median of its last five logged values, from the third on: one noisy step is no alarm."""

Row = Mapping[str, Any]


@dataclass
class History:
    """The values of one column so far."""

    values: list[float] = field(default_factory=list)
    best: float | None = None
    """The least median of a whole window so far, the present one left out."""

    def add(self, value: float) -> None:
        """The next value."""
        if len(self.values) >= WINDOW:
            self.best = self.now if self.best is None else min(self.best, self.now)
        self.values.append(value)

    @property
    def now(self) -> float:
        """The median of the last window."""
        return median(self.values[-WINDOW:])

    @property
    def start(self) -> float:
        """The median of the first window."""
        return median(self.values[:WINDOW])

    def last(self, count: int) -> list[float]:
        """The last so many values."""
        return self.values[-count:]


@dataclass(frozen=True)
class Limits:
    """When an alarm is raised, and when it is over."""

    bad: Callable[[History], bool]
    good: Callable[[History], bool]


@dataclass(frozen=True)
class Rule:
    """When an alarm of a kind is raised and when it is over; between the two it stays as it is.

    ``column`` is what is judged. ``needs`` is another column that a row must have: a rule about rollouts says nothing
    about the cold start. ``enough`` values of the column must be there.
    """

    kind: str
    column: str
    limits: Limits
    says: Callable[[History, Row], str]
    needs: str = ""
    without: str = ""
    enough: int = ENOUGH
    value: Callable[[Row], Any] | None = None
    """Where the column does not hold the value itself."""

    def read(self, row: Row) -> float | None:
        """The row's value, or None if the rule has nothing to say about the row."""
        if (self.needs and self.needs not in row) or (self.without and self.without in row):
            return None
        return number(self.value(row) if self.value else row.get(self.column))
