"""Where a review stands: who has read what, what comes next for whom, and what has to be adjudicated."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import RLock

from medreasoner_monai.data.review.applied import contents_of, digest_of, outcomes_of
from medreasoner_monai.data.review.events import Event, Field, Heads, Judgement
from medreasoner_monai.data.review.outcome import Outcome
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.order import Gold, Order, queue

_LEASE = 600.0  # seconds for which an opened sample counts as being read


@dataclass(frozen=True)
class Plan:
    """Who reviews, and how.

    ``readings`` readers judge each sample, none of whom sees what another one said; adjudicators settle what readers
    disagree on and read nothing themselves.
    """

    readers: tuple[str, ...]
    adjudicators: tuple[str, ...] = ()
    readings: int = 1
    order: Order = "id"
    gold: Gold | None = None

    def __post_init__(self) -> None:
        names = [*self.readers, *self.adjudicators]
        if not names or not all(name.strip() for name in names):
            raise InputError("a review needs the name of at least one reviewer")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"{twice[0]} is named twice; an adjudicator is not one of the readers")
        if self.readings > len(self.readers) and self.readers:
            raise InputError(f"{self.readings} readings of each sample need as many readers, got {len(self.readers)}")


@dataclass
class Board:
    """The state of a review, kept up to date with its store, into which other processes may write as well."""

    data: ReviewedData
    store: ReviewStore
    plan: Plan
    order: list[str]
    _heads: Heads = field(default_factory=Heads)
    _lock: RLock = field(default_factory=RLock)
    _leases: dict[str, dict[str, float]] = field(default_factory=dict)
    _queues: dict[str, list[str]] = field(default_factory=dict)
    _outcomes: dict[str, tuple[tuple[int, ...], Mapping[Field, Outcome]]] = field(default_factory=dict)
    _seen: dict[str, Mapping[Field, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.refresh()
        self._seen = self.data.seen(self._heads.samples())

    def refresh(self) -> None:
        """Read what was added to the store."""
        with self._lock:
            self._heads.feed(self.store.events(after=self._heads.last))

    def seen(self, sample: str) -> Mapping[Field, str]:
        """The digest of each part of a sample that is judged, as the data set has it now."""
        if sample not in self._seen:
            self._seen[sample] = {f: digest_of(c) for f, c in contents_of(self._loaded(sample)).items()}
        return self._seen[sample]

    def add(self, judgement: Judgement) -> Event:
        """Store a verdict and know of it."""
        event = self.store.add(judgement)
        self.refresh()
        return event

    def verdicts(self, sample: str, reviewer: str) -> dict[Field, Event]:
        """What one reviewer says about a sample now."""
        return {e.field: e for e in self.heads(sample) if e.reviewer == reviewer}

    def heads(self, sample: str) -> list[Event]:
        """What all say now about the parts of a sample as they are now."""
        with self._lock:
            heads = self._heads.of(sample)
        if not heads or sample not in self.data.by_id:
            return []
        seen = self.seen(sample)
        return [e for e in heads if seen.get(e.field) == e.seen]

    def latest(self, reviewer: str) -> Event | None:
        """The reviewer's latest verdict that holds: what undo takes back."""
        with self._lock:
            judged = [s for s in self._heads.samples() if any(e.reviewer == reviewer for e in self._heads.of(s))]
        mine = (e for sample in judged for e in self.verdicts(sample, reviewer).values())
        return max(mine, key=lambda e: e.seq, default=None)

    def queue(self, reviewer: str) -> list[str]:
        """A reviewer's samples in order: a reader's whole queue, an adjudicator's disputed ones."""
        self.refresh()
        if reviewer in self.plan.adjudicators:
            return [name for name in self.order if self._to_adjudicate(name, reviewer)]
        if reviewer not in self._queues:
            self._queues[reviewer] = queue(self.order, self.plan.gold, reviewer)
        return self._queues[reviewer]

    def done(self, sample: str, reviewer: str) -> bool:
        """Whether a reviewer has judged every part that there is for them to judge."""
        mine = self.verdicts(sample, reviewer)
        if not mine:
            return False
        if reviewer in self.plan.adjudicators:
            return not self.disputed(sample)
        return set(self.seen(sample)) <= set(mine)

    def next(self, reviewer: str, after: str | None = None) -> str | None:
        """The first sample from ``after`` on that still wants this reviewer; from the start where there is none left.

        A sample that others have begun, or have open, is passed over once it has its readings. Gold items are for
        every reader.
        """
        names = self.queue(reviewer)
        start = names.index(after) + 1 if after in names else 0
        for name in [*names[start:], *names[:start]]:
            if name != after and not self.done(name, reviewer) and not self._taken(name, reviewer):
                return name
        return None

    def open(self, sample: str, reviewer: str) -> None:
        """Note that a reviewer has a sample on the screen."""
        with self._lock:
            for leases in self._leases.values():
                leases.pop(reviewer, None)
            self._leases.setdefault(sample, {})[reviewer] = time.monotonic()

    def _taken(self, sample: str, reviewer: str) -> bool:
        if reviewer in self.plan.adjudicators or (self.plan.gold and sample in self.plan.gold.verdicts):
            return False
        now = time.monotonic()
        with self._lock:
            others = {r for r, at in self._leases.get(sample, {}).items() if now - at < _LEASE}
        others |= {e.reviewer for e in self.heads(sample) if e.role == "reader"}
        return len(others - {reviewer}) >= self.plan.readings

    def outcomes(self, sample: str) -> Mapping[Field, Outcome]:
        """Where each part of a sample stands."""
        heads = self.heads(sample)
        mark = tuple(e.seq for e in heads)
        known = self._outcomes.get(sample)
        if known is None or known[0] != mark:
            loaded = self._loaded(sample)
            known = mark, outcomes_of(loaded, heads, self.store, readings=self.plan.readings)
            self._outcomes[sample] = known
        return known[1]

    def disputed(self, sample: str) -> list[Field]:
        """The parts on which the readers differ and nobody has adjudicated."""
        heads = self.heads(sample)
        if len({e.reviewer for e in heads if e.role == "reader"}) < 2 or _plainly_agreed(heads):
            return []
        return [f for f, outcome in self.outcomes(sample).items() if outcome.state == "disputed"]

    def _to_adjudicate(self, sample: str, reviewer: str) -> bool:
        heads = self.heads(sample)
        if any(e.reviewer == reviewer and e.role == "reader" for e in heads):
            return False  # one's own reading is not one's to judge
        return any(e.reviewer == reviewer for e in heads) or bool(self.disputed(sample))

    def _loaded(self, sample: str) -> Sample:
        loaded = self.data.get(sample)
        if loaded is None:
            raise InputError(f"the data set has no sample {sample}")
        return loaded


def _plainly_agreed(heads: list[Event]) -> bool:
    """Whether all say the same of each part and nobody edited it: then nothing has to be read to know."""
    said: dict[Field, set[str]] = {}
    for event in heads:
        said.setdefault(event.field, set()).add(event.verdict)
    return all(len(verdicts) == 1 and "edit" not in verdicts for verdicts in said.values())
