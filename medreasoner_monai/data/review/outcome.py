"""What the verdicts on a part of a sample come to: readers that agree, readers that do not, and the adjudicator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.review.events import Event, Field
from medreasoner_monai.data.schema import decode_mask

SAME_MASK = 0.95
"""Dice from which on two masks count as the same judgement."""

State = Literal["open", "settled", "disputed"]
Content = str | NDArray[np.bool_]
"""A part of a sample: a text, or a mask ``(rows, cols)``."""


@dataclass(frozen=True)
class Outcome:
    """Where a part stands.

    ``open`` until enough readers have judged it; ``disputed`` if they differ and nobody has adjudicated; else
    ``settled``, and ``event`` is the one that counts: the adjudicator's, or of readers who agree the first edit, or the
    first verdict.
    """

    state: State
    event: Event | None = None
    readers: tuple[str, ...] = ()


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """``2 |A and B| / (|A| + |B|)`` of two masks of one shape; 1 for two empty ones."""
    total = int(a.sum()) + int(b.sum())
    return 2 * float((a & b).sum()) / total if total else 1.0


def content_of(event: Event, original: Content, value: Callable[[int], bytes]) -> Content:
    """What a part is by an accepting or editing event: its value, or the part as it was."""
    if event.verdict != "edit":
        return original
    data = value(event.seq)
    return data.decode() if event.field != "mask" else decode_mask(data, f"event {event.seq}")


def same(a: Content, b: Content) -> bool:
    """Whether two contents are one judgement: equal words, or a Dice of :data:`SAME_MASK`."""
    if isinstance(a, str) or isinstance(b, str):
        return isinstance(a, str) and isinstance(b, str) and a.split() == b.split()
    return a.shape == b.shape and dice(a, b) >= SAME_MASK


def settle(heads: Sequence[Event], original: Content, value: Callable[[int], bytes], *, readings: int = 1) -> Outcome:
    """The outcome for one part of one sample.

    Parameters
    ----------
    heads:
        The verdict that holds of each reviewer (:class:`~medreasoner_monai.data.review.events.Heads`) on this part as
        it is now.
    original:
        The part as the data set has it.
    value:
        Reads an event's value.
    readings:
        How many readers must have judged it.
    """
    heads = sorted(heads, key=lambda e: e.seq)
    readers = tuple(e.reviewer for e in heads if e.role == "reader")
    adjudicated = [e for e in heads if e.role == "adjudicator"]
    if adjudicated:
        return Outcome("settled", adjudicated[-1], readers)
    if len(readers) < readings or not heads:
        return Outcome("open", None, readers)
    first, *others = heads
    for other in others:
        if (first.verdict == "reject") != (other.verdict == "reject"):
            return Outcome("disputed", None, readers)
        if first.verdict != "reject" and not same(
            content_of(first, original, value), content_of(other, original, value)
        ):
            return Outcome("disputed", None, readers)
    return Outcome("settled", next((e for e in heads if e.verdict == "edit"), first), readers)


def fields_of(trace: str) -> tuple[Field, ...]:
    """The parts to judge: a sample without a trace has two."""
    return ("question", "mask", "trace") if trace.strip() else ("question", "mask")
