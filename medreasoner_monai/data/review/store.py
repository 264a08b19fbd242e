"""The verdicts on a data set in one SQLite file, to which is only ever added.

Each verdict is a row of ``events``; triggers refuse to change or delete one. A verdict is committed with its value in
one transaction under a write-ahead log that is flushed to disk (``synchronous=FULL``), so a server that is killed
leaves a whole store with every verdict that it had confirmed. Several processes and threads may write at once: SQLite
lets them in one after the other, and each reviewer's verdicts stand beside the others'.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from medreasoner_monai.data.review.events import FIELDS, ROLES, VERDICTS, Event, Judgement
from medreasoner_monai.errors import InputError

_VERSION = 1
_WAIT = 15.0  # seconds for another writer to finish
_COLUMNS = (
    "seq, at, reviewer, role, via, sample, picture, field, seen, verdict, coalesce(value_digest, ''), comment, "
    "supersedes"
)


def _one_of(values: tuple[str, ...]) -> str:
    return ", ".join(f"'{v}'" for v in values)


_TABLES = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE datasets (digest TEXT PRIMARY KEY, first TEXT NOT NULL);
CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  reviewer TEXT NOT NULL CHECK (reviewer <> ''),
  role TEXT NOT NULL CHECK (role IN ({_one_of(ROLES)})),
  via TEXT NOT NULL,
  sample TEXT NOT NULL,
  picture TEXT NOT NULL,
  field TEXT NOT NULL CHECK (field IN ({_one_of(FIELDS)})),
  seen TEXT NOT NULL,
  verdict TEXT NOT NULL CHECK (verdict IN ({_one_of(VERDICTS)})),
  value BLOB CHECK ((value IS NOT NULL) = (verdict = 'edit')),
  value_digest TEXT,
  comment TEXT NOT NULL,
  supersedes INTEGER REFERENCES events(seq),
  client TEXT NOT NULL,
  UNIQUE (reviewer, client)
);
CREATE INDEX by_sample ON events (sample, seq);
CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'verdicts are never changed'); END;
CREATE TRIGGER events_remain BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'verdicts are never deleted'); END;
INSERT INTO meta VALUES ('format', 'medreasoner-reviews'), ('version', '{_VERSION}');
"""


class ReviewStore:
    """Events in the order in which they were confirmed.

    Parameters
    ----------
    path:
        The SQLite file.
    create:
        Make it where it is missing.

    Raises
    ------
    InputError
        If the file is missing and not to be made, or is not a review store of a version that is known.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not path.exists():
            if not create:
                raise InputError(f"{path} does not exist; `medreasoner review serve` makes a review store")
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._open() as db:
                if create and not db.execute("SELECT 1 FROM sqlite_master").fetchone():
                    self._make(db)
                meta = dict(db.execute("SELECT name, value FROM meta"))
        except sqlite3.Error as error:
            raise InputError(f"{path} is not a review store ({error}); name another file") from None
        if meta.get("format") != "medreasoner-reviews" or meta.get("version") != str(_VERSION):
            raise InputError(
                f"{path} is a review store of version {meta.get('version')}; this software reads version {_VERSION}"
            )

    @staticmethod
    def _make(db: sqlite3.Connection) -> None:
        db.execute("PRAGMA journal_mode=WAL")
        # Two that start at once: the second one finds the tables made.
        if not db.execute("SELECT 1 FROM sqlite_master").fetchone():
            try:
                db.executescript("BEGIN IMMEDIATE;" + _TABLES + "COMMIT;")
            except sqlite3.OperationalError as error:
                if "already exists" not in str(error):
                    raise
                db.rollback()

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise

    def add(self, judgement: Judgement) -> Event:
        """Store a verdict; on return it is on the disk. The same act of judging (``client``) is stored once.

        Raises
        ------
        InputError
            If there is nothing to withdraw, an edit has no value, or another verdict does.
        """
        j = judgement
        if (j.value is not None) != (j.verdict == "edit"):
            raise InputError(f"sample {j.sample}, {j.field}: an edit has a value and nothing else has")
        with self._writing() as db:
            known = db.execute(
                f"SELECT {_COLUMNS} FROM events WHERE reviewer = ? AND client = ?", (j.reviewer, j.client)
            ).fetchone()
            if known:
                return Event(*known)
            before = self._head(db, j)
            if j.verdict == "withdraw" and before is None:
                raise InputError(f"sample {j.sample}, {j.field}: there is no verdict to withdraw")
            at = j.at or datetime.now(UTC).isoformat(timespec="milliseconds")
            digest = None if j.value is None else hashlib.sha256(j.value).hexdigest()
            seq = db.execute(
                "INSERT INTO events (at, reviewer, role, via, sample, picture, field, seen, verdict, value, "
                "value_digest, comment, supersedes, client) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(at, j.reviewer, j.role, j.via, j.sample, j.picture, j.field, j.seen, j.verdict, j.value),
                    *(digest, j.comment, before, j.client),
                ),
            ).lastrowid
            row = db.execute(f"SELECT {_COLUMNS} FROM events WHERE seq = ?", (seq,)).fetchone()
        return Event(*row)

    @staticmethod
    def _head(db: sqlite3.Connection, j: Judgement) -> int | None:
        """The event that holds for this reviewer, sample and field."""
        rows = db.execute(
            "SELECT seq, verdict, supersedes FROM events WHERE sample = ? AND reviewer = ? AND field = ? ORDER BY seq",
            (j.sample, j.reviewer, j.field),
        )
        before: dict[int, int | None] = {}
        head: int | None = None
        for seq, verdict, supersedes in rows:
            before[seq] = supersedes
            head = before.get(supersedes) if verdict == "withdraw" else seq
        return head

    def events(self, *, after: int = 0) -> Iterator[Event]:
        """All events in order, or those after one."""
        with self._open() as db:
            for row in db.execute(f"SELECT {_COLUMNS} FROM events WHERE seq > ? ORDER BY seq", (after,)):
                yield Event(*row)

    def value(self, seq: int) -> bytes:
        """What an edit changed its part to: UTF-8 text, or a mask as PNG.

        Raises
        ------
        InputError
            If there is no such event, or it is not an edit.
        """
        with self._open() as db:
            row = db.execute("SELECT value FROM events WHERE seq = ?", (seq,)).fetchone()
        if row is None or row[0] is None:
            raise InputError(f"{self.path}: event {seq} has no value")
        return bytes(row[0])

    def pictures(self) -> dict[str, set[str]]:
        """Digests of the pictures on which there are verdicts, by sample."""
        found: dict[str, set[str]] = {}
        with self._open() as db:
            for sample, picture in db.execute("SELECT DISTINCT sample, picture FROM events"):
                found.setdefault(sample, set()).add(picture)
        return found

    def knows(self, dataset: str) -> bool:
        """Whether a data set's digest has been bound to this store."""
        with self._open() as db:
            return db.execute("SELECT 1 FROM datasets WHERE digest = ?", (dataset,)).fetchone() is not None

    def bind(self, dataset: str, pictures: Mapping[str, str]) -> None:
        """Note that this data set is reviewed here.

        Parameters
        ----------
        dataset:
            Its digest.
        pictures:
            The picture digest of each sample that has verdicts here and is in the data set.

        Raises
        ------
        InputError
            If a sample with verdicts is not in the data set, or has another picture there.
        """
        if self.knows(dataset):
            return
        for sample, digests in self.pictures().items():
            if pictures.get(sample) not in digests:
                why = "has another picture there" if sample in pictures else "is not in it"
                raise InputError(
                    f"{self.path} holds verdicts on another data set: its sample {sample} {why}; name another file "
                    "with --reviews"
                )
        with self._writing() as db:
            now = datetime.now(UTC).isoformat(timespec="seconds")
            db.execute("INSERT OR IGNORE INTO datasets VALUES (?, ?)", (dataset, now))
