"""A verdict as an event: who said what about which part of which sample, and when. Events are never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Field = Literal["question", "mask", "trace"]
Verdict = Literal["accept", "edit", "reject", "withdraw"]
Role = Literal["reader", "adjudicator"]

FIELDS: tuple[Field, ...] = ("question", "mask", "trace")
"""The parts of a sample that are judged separately. A sample without a trace has two."""
VERDICTS: tuple[Verdict, ...] = ("accept", "edit", "reject", "withdraw")
ROLES: tuple[Role, ...] = ("reader", "adjudicator")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict before it is stored.

    Attributes
    ----------
    reviewer, role:
        Who judged, as a reader or as the adjudicator of readers who disagreed.
    sample:
        The sample's id.
    picture:
        :func:`picture_digest` of its image.
    field:
        The part that was judged.
    seen:
        :func:`text_digest` or :func:`mask_digest` of that part as the data set has it: a verdict does not apply to a
        sample whose part has been made anew since.
    verdict:
        ``withdraw`` takes back the reviewer's latest verdict on this part, and the one before it holds again.
    value:
        With ``edit``: the text in UTF-8, or the mask as PNG. None otherwise.
    comment:
        Free text, for people.
    client:
        Names the act of judging, so that the same one sent twice is stored once.
    via:
        ``page``, or the format it was imported from.
    at:
        When it was given, if not now (UTC, ISO 8601); for imports.
    """

    reviewer: str
    sample: str
    picture: str
    field: Field
    seen: str
    verdict: Verdict
    client: str
    value: bytes | None = None
    comment: str = ""
    role: Role = "reader"
    via: str = "page"
    at: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """A stored verdict, without its value, which is read when it is needed (``ReviewStore.value``).

    ``seq`` counts the store's events from 1; ``supersedes`` is the event of the same reviewer, sample and field that
    held before, or, of a withdrawal, the one it takes back; ``value_digest`` is empty where there is no value.
    """

    seq: int
    at: str
    reviewer: str
    role: Role
    via: str
    sample: str
    picture: str
    field: Field
    seen: str
    verdict: Verdict
    value_digest: str
    comment: str
    supersedes: int | None


Key = tuple[str, Field]
"""Reviewer, field."""


class Heads:
    """The verdict that holds for each reviewer, sample and field, from all their events in order.

    A withdrawal brings back what the withdrawn event had superseded.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.last = 0
        self._by_seq: dict[int, Event] = {}
        self._by_sample: dict[str, dict[Key, Event]] = {}
        self.feed(events)

    def feed(self, events: Iterable[Event]) -> None:
        """Add later events."""
        for event in events:
            self._by_seq[event.seq] = event
            self.last = event.seq
            heads = self._by_sample.setdefault(event.sample, {})
            key = (event.reviewer, event.field)
            if event.verdict != "withdraw":
                heads[key] = event
                continue
            withdrawn = self._by_seq.get(event.supersedes or 0)
            before = self._by_seq.get(withdrawn.supersedes or 0) if withdrawn else None
            if before is None:
                heads.pop(key, None)
            else:
                heads[key] = before

    def of(self, sample: str) -> list[Event]:
        """Those of one sample, in the order in which they were given."""
        return sorted(self._by_sample.get(sample, {}).values(), key=lambda e: e.seq)

    def samples(self) -> Iterator[str]:
        """The samples on which a verdict holds, by id."""
        return (sample for sample in sorted(self._by_sample) if self._by_sample[sample])


def picture_digest(image: NDArray[np.uint8]) -> str:
    """sha256 over the shape and the pixels of an image ``(rows, cols)`` or ``(rows, cols, 3)``, in hex."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()


def mask_digest(mask: NDArray[np.bool_]) -> str:
    """sha256 over the shape and the pixels of a mask ``(rows, cols)``, in hex."""
    digest = hashlib.sha256(repr(mask.shape).encode())
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()


def text_digest(text: str) -> str:
    """sha256 of a text, however its white space is set, in hex."""
    return hashlib.sha256(" ".join(text.split()).encode()).hexdigest()
