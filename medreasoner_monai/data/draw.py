"""A draw of rows that stays the same: those whose digests are lowest."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Draw(Generic[T]):
    """At most ``size`` of the things it is shown, chosen by a digest of their names, whatever their order.

    Memory does not grow with the number of things shown; more things displace few of those drawn before.

    >>> draw = Draw(2)
    >>> for name in "abcd":
    ...     draw.show(name, name.upper())
    >>> sorted(draw)
    ['C', 'D']
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.shown = 0
        self._heap: list[tuple[int, str, T]] = []

    def show(self, name: str, thing: T) -> None:
        """Show a thing with its name, which no other has."""
        self.shown += 1
        rank = -int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, (rank, name, thing))
        elif self._heap and rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, name, thing))

    def __iter__(self) -> Iterator[T]:
        """What was drawn, by name."""
        return (thing for _, _, thing in sorted(self._heap, key=lambda entry: entry[1]))

    def __len__(self) -> int:
        return len(self._heap)
