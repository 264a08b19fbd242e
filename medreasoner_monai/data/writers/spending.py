"""What the language model's work cost, counted by the process that asked."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

_LOCK = threading.Lock()


@dataclass(frozen=True)
class Spending:
    """Requests sent, replies taken from the cache instead, and the tokens the service charged for."""

    requests: int = 0
    cached: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Spending) -> Spending:
        return Spending(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def cost(self, price_in: float, price_out: float) -> float:
        """In the currency of the prices, which are per million tokens.

        >>> Spending(tokens_in=2_000_000, tokens_out=500_000).cost(1.0, 4.0)
        4.0
        """
        return (self.tokens_in * price_in + self.tokens_out * price_out) / 1e6


_spent = Spending()


def spend(more: Spending) -> None:
    """Add to what this process has spent."""
    global _spent  # noqa: PLW0603 - one ledger a process, for writers and judges alike
    with _LOCK:
        _spent = _spent + more


def drain() -> Spending:
    """What was spent since the last call."""
    global _spent
    with _LOCK:
        spent, _spent = _spent, Spending()
    return spent
