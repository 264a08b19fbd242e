"""The firewall between splits: nothing that is tested on may have been trained or validated on.

Five kinds of leaks are looked for between test and val, test and train, and val and train:

============== =====================================================================
group          a patient
study          a Study Instance UID (PS3.3 C.7.2.1)
picture        a picture, pixel for pixel
near-duplicate a picture that is another one resized, compressed, moved, mirrored or windowed
question       a question with its mask
============== =====================================================================

What was seen is kept on disk (SQLite, and a file of hashes per split), so that memory does not grow with the samples.
"""

from __future__ import annotations

import sqlite3
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from medreasoner_monai.data.fingerprints import Fingerprint, Look, mirrored
from medreasoner_monai.data.likeness import SAME, likeness
from medreasoner_monai.data.near_hashes import MOST, RADIUS, near_pairs
from medreasoner_monai.errors import InputError

REPORT = "firewall.json"
KINDS = ("group", "study", "picture", "near-duplicate", "question")
_EXAMPLES = 20  # of each kind, in the report
_SAID = 3  # of each kind, in the error
_TABLES = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE facts (kind TEXT, key BLOB, split TEXT, place TEXT, sample TEXT, PRIMARY KEY (kind, key, split))
    WITHOUT ROWID;
CREATE TABLE looks (number INTEGER PRIMARY KEY, picture BLOB, place TEXT, sample TEXT, thumb BLOB);
"""
_REMEDY = {
    "group": "leave the division to data.splits, or take the patient out of one of the files",
    "study": "give all pictures of a study one group",
    "picture": "take one of them out, or give both one group",
    "near-duplicate": "look at them; take one out, or give both one group (state the patients of the source)",
    "question": "take one of them out, or give both one group",
}


@dataclass(frozen=True)
class Place:
    """A sample, as a person finds it."""

    split: str
    where: str
    id: str

    def __str__(self) -> str:
        return f"{self.split}: {self.where} ({self.id})" if self.where != self.id else f"{self.split}: {self.id}"


@dataclass(frozen=True)
class Leak:
    """One thing in two splits; ``likeness`` is that of near-duplicates."""

    kind: str
    first: Place
    second: Place
    likeness: float | None = None


@dataclass(frozen=True)
class Report:
    """What the firewall found.

    Attributes
    ----------
    samples:
        Checked, by split.
    counts:
        Leaks by kind; one thing that is in three splits counts once for each pair of them.
    examples:
        The first leaks of each kind.
    allowed:
        Kinds that were accepted beforehand.
    """

    samples: Mapping[str, int]
    counts: Mapping[str, int]
    examples: Sequence[Leak]
    allowed: tuple[str, ...] = ()

    @property
    def refused(self) -> list[str]:
        """Kinds that were found and not accepted."""
        return [kind for kind in KINDS if self.counts.get(kind) and kind not in self.allowed]

    def _first(self, kind: str) -> list[Leak]:
        return [leak for leak in self.examples if leak.kind == kind][:_SAID]

    def as_dict(self) -> dict[str, Any]:
        """The content of ``firewall.json``."""
        return {
            "samples": dict(self.samples),
            "leaks": {kind: self.counts.get(kind, 0) for kind in KINDS},
            "allowed": list(self.allowed),
            "refused": self.refused,
            "examples": [asdict(leak) for leak in self.examples],
            "near_duplicate": {"hash_bits": RADIUS, "likeness": SAME, "candidates_per_picture": MOST},
        }

    def check(self, more: str = "") -> None:
        """Refuse leaks that nobody accepted.

        Parameters
        ----------
        more:
            Where the whole report is.

        Raises
        ------
        InputError
            Naming kinds, counts, the first samples and what to do.
        """
        if not self.refused:
            return
        said = []
        for kind in self.refused:
            shown = "; ".join(f"{k.first} and {k.second}" for k in self._first(kind))
            said.append(f"{kind}: {self.counts[kind]}, such as {shown}. Remedy: {_REMEDY[kind]}.")
        raise InputError(
            "splits share what they may not (the firewall between train, val and test):\n  "
            + "\n  ".join(said)
            + f"\nTo accept a kind knowingly, name it in data.firewall.allow.{more}"
        )


class Firewall:
    """Takes the samples of all splits in and finds what they share. A context manager; its files are made anew.

    Parameters
    ----------
    folder:
        For its index; made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._samples: Counter[str] = Counter()
        self._number = 0

    def __enter__(self) -> Firewall:
        self._folder.mkdir(parents=True, exist_ok=True)
        for old in self._folder.glob("*"):
            old.unlink()
        self._stack = ExitStack()
        self._db = sqlite3.connect(self._folder / "seen.sqlite")
        self._stack.callback(self._db.close)
        self._db.executescript(_TABLES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def add(self, place: Place, group: str, study: str, print_: Fingerprint) -> None:
        """Take a sample in. ``study`` is its Study Instance UID, or empty."""
        self._samples[place.split] += 1
        facts = {"group": group.encode(), "study": study.encode(), "picture": print_.picture}
        if print_.mask is not None:  # an absent target's mask is empty, and such a question may be asked often
            facts["question"] = print_.question + print_.mask
        first = self._note(place, "picture", facts.pop("picture"))
        for kind, key in facts.items():
            if key:
                self._note(place, kind, key)
        if first:
            for look in print_.looks:
                self._look(place, print_.picture, look)

    def _note(self, place: Place, kind: str, key: bytes) -> bool:
        """Note a fact unless its split has it already; whether it was new."""
        done = self._db.execute(
            "INSERT OR IGNORE INTO facts VALUES (?, ?, ?, ?, ?)", (kind, key, place.split, place.where, place.id)
        )
        return done.rowcount > 0

    def _look(self, place: Place, picture: bytes, look: Look) -> None:
        self._db.execute(
            "INSERT INTO looks VALUES (?, ?, ?, ?, ?)", (self._number, picture, place.where, place.id, look.thumb)
        )
        for ending, of in (("hashes", look), ("mirrored", mirrored(look))):
            self._file(place.split, ending).write(struct.pack("<QQQ", self._number, of.whole, of.inner))
        self._number += 1

    def _file(self, split: str, ending: str) -> BinaryIO:
        name = f"{split}.{ending}"
        if name not in self._files:
            self._files[name] = self._stack.enter_context((self._folder / name).open("wb"))
        return self._files[name]

    def report(self, allow: Sequence[str] = ()) -> Report:
        """What the splits share, among all that were taken in."""
        counts: Counter[str] = Counter()
        examples: list[Leak] = []
        for leak in self._leaks():
            counts[leak.kind] += 1
            if counts[leak.kind] <= _EXAMPLES:
                examples.append(leak)
        return Report(dict(self._samples), dict(counts), examples, tuple(sorted(set(allow))))

    def _leaks(self) -> Iterator[Leak]:
        same = self._db.execute(
            "SELECT a.kind, a.split, a.place, a.sample, b.split, b.place, b.sample FROM facts a JOIN facts b"
            " ON a.kind = b.kind AND a.key = b.key AND a.split < b.split"
            " ORDER BY a.kind, a.split, b.split, a.place, a.sample"
        )
        for kind, *ends in same:
            yield Leak(kind, Place(*ends[:3]), Place(*ends[3:]))
        for file in self._files.values():
            file.flush()
        for a, b in combinations([s for s in ("test", "val", "train") if f"{s}.hashes" in self._files], 2):
            done: set[tuple[bytes, bytes]] = set()
            for ending in ("hashes", "mirrored"):
                yield from self._near(a, b, ending, done)

    def _near(self, a: str, b: str, ending: str, done: set[tuple[bytes, bytes]]) -> Iterator[Leak]:
        """Near-duplicates of two splits, equal pictures left out; a pair counts once (``done``), whatever its looks."""
        for first, others in near_pairs(self._folder / f"{a}.{ending}", self._folder / f"{b}.hashes"):
            picture, where, name, thumb = self._seen(first)
            seen = mirrored(Look(0, 0, thumb)) if ending == "mirrored" else Look(0, 0, thumb)
            for other in others:
                picture_b, where_b, name_b, thumb_b = self._seen(other)
                if picture == picture_b or (picture, picture_b) in done:
                    continue
                alike = likeness(seen, Look(0, 0, thumb_b))
                if alike >= SAME:
                    done.add((picture, picture_b))
                    yield Leak("near-duplicate", Place(a, where, name), Place(b, where_b, name_b), round(alike, 3))

    def _seen(self, number: int) -> tuple[bytes, str, str, bytes]:
        found = self._db.execute("SELECT picture, place, sample, thumb FROM looks WHERE number = ?", (number,))
        row: tuple[bytes, str, str, bytes] = found.fetchone()
        return row
