"""The samples of a data set in a database on the disk, to be looked up by id while another data set is read."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.data.schema import SampleError
from medreasoner_monai.errors import InputError

_READ = 32  # rows at a time; each has a picture
_COLUMNS = ["prompt", "images", "masks", "reward_model", "extra_info"]


@dataclass(frozen=True)
class Row:
    """What is compared of a row: texts and the encoded picture as digests, the mask as it is encoded."""

    id: str
    split: str
    category: str
    group: str
    picture: bytes
    question: bytes
    answer: bytes
    trace: bytes
    labels: bytes
    mask: bytes


class Index:
    """Samples by id. The file is temporary and removed with the block."""

    def __init__(self) -> None:
        self.count = 0
        self._folder = tempfile.TemporaryDirectory(prefix="medreasoner-diff-")
        self._database = sqlite3.connect(Path(self._folder.name) / "samples.sqlite")

    def __enter__(self) -> Self:
        # Nobody reads the file after a crash.
        self._database.executescript(
            """
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            CREATE TABLE samples (id TEXT PRIMARY KEY, split TEXT, category TEXT, patient TEXT, picture BLOB,
                question BLOB, answer BLOB, trace BLOB, labels BLOB, mask BLOB, seen INTEGER) WITHOUT ROWID;
            CREATE TABLE others (id TEXT PRIMARY KEY) WITHOUT ROWID;
            CREATE TABLE trained (patient TEXT PRIMARY KEY) WITHOUT ROWID;
            """
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()
        self._folder.cleanup()

    def add(self, row: Row) -> None:
        """Store a row.

        Raises
        ------
        InputError
            If its id is stored already.
        """
        try:
            self._database.execute("INSERT INTO samples VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)", astuple(row))
        except sqlite3.IntegrityError:
            raise _twice(row, "first") from None
        if row.split == "train" and row.group:
            self._database.execute("INSERT OR IGNORE INTO trained VALUES (?)", (row.group,))
        self.count += 1

    def take(self, row: Row) -> Row | None:
        """The stored row of the same id, which then counts as seen; None where there is none.

        Raises
        ------
        InputError
            If a row of that id was asked for before.
        """
        found = self._database.execute("SELECT * FROM samples WHERE id = ?", (row.id,)).fetchone()
        if found is None:
            try:
                self._database.execute("INSERT INTO others VALUES (?)", (row.id,))
            except sqlite3.IntegrityError:
                raise _twice(row, "second") from None
            return None
        if found[-1]:
            raise _twice(row, "second")
        self._database.execute("UPDATE samples SET seen = 1 WHERE id = ?", (row.id,))
        return Row(*found[:-1])

    def left(self) -> Iterator[tuple[str, str, str]]:
        """Id, split and category of the rows that were not asked for, by id."""
        yield from self._database.execute("SELECT id, split, category FROM samples WHERE seen = 0 ORDER BY id")

    def trains_on(self, patient: str) -> bool:
        """Whether a patient is in the training split."""
        asked = "SELECT 1 FROM trained WHERE patient = ?"
        return self._database.execute(asked, (patient,)).fetchone() is not None


def rows(files: Mapping[str, Path]) -> Iterator[Row]:
    """The rows of a data set's files by split.

    Raises
    ------
    InputError
        If a file is not a Parquet file in the U-MRG schema, or a row of it lacks something.
    """
    for split, path in files.items():
        number = 0
        try:
            with pq.ParquetFile(path, pre_buffer=False) as file:
                if missing := [name for name in _COLUMNS if name not in file.schema_arrow.names]:
                    raise InputError(f"{path} is not in the U-MRG schema: the column {missing[0]} is missing")
                for batch in file.iter_batches(_READ, columns=_COLUMNS):
                    for row in batch.to_pylist():
                        yield _read(row, split, f"{path.name} row {number}")
                        number += 1
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"{path} is not a Parquet file ({error})") from None


def _read(row: dict[str, Any], split: str, where: str) -> Row:
    try:
        info = dict(row["extra_info"] or {})
        identifier, trace = str(info.pop("id", None) or where), info.pop("trace", None)
        labels = {name: value for name, value in info.items() if value not in ("", None)}
        return Row(
            identifier,
            split,
            str(info.get("category") or ""),
            str(info.get("group") or ""),
            _digest(row["images"][0]["bytes"]),
            _digest(row["prompt"][0]["content"]),
            _digest(_canonical(row["reward_model"]["ground_truth"])),
            _digest(trace or ""),
            _digest(json.dumps(labels, sort_keys=True)),
            bytes(row["masks"][0]["bytes"]),
        )
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        raise SampleError(f"{where}: not a row of the U-MRG schema ({error!r:.120})") from None


def _canonical(text: str) -> str:
    """A ground truth independent of blanks and of the order of its keys."""
    return json.dumps(json.loads(text), sort_keys=True)


def _digest(value: bytes | str) -> bytes:
    return hashlib.sha256(value.encode() if isinstance(value, str) else value).digest()


def _twice(row: Row, which: str) -> InputError:
    return InputError(
        f"the id {row.id} stands twice in the {which} data set (again in {row.split}); give each sample its own, or "
        "curate the data set"
    )
