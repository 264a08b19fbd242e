"""Shards: the pieces curation works on. A finished shard is a file, so that a killed curation goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.data.fingerprints import FIELDS, Fingerprinter
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.schema import SCHEMA, PngOnce, TableFile, to_row
from medreasoner_monai.data.sources.protocol import Placed, Source, Unit
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.data.writers.spending import Spending
from medreasoner_monai.files import write_json

SHARD_MASKS = 256
"""About how many masks a shard holds."""
SHARD_SCHEMA = pa.schema(
    [
        *SCHEMA,
        ("where", pa.string()),
        ("split", pa.string()),
        ("named", pa.bool_()),
        ("picture", pa.string()),
        *FIELDS,
    ]
)
REJECT_SCHEMA = pa.schema(
    [
        ("where", pa.string()),
        ("reason", pa.string()),
        ("step", pa.string()),
        ("masks", pa.int64()),
        ("thumbnail", pa.binary()),
        ("code", pa.string()),
        ("source", pa.string()),
    ]
)
_ROWS = 64  # read at a time


@dataclass(frozen=True)
class Shard:
    """Some units of one source, and where they go. ``number`` counts the shards of a data set from 0."""

    number: int
    source: Source
    units: tuple[Unit, ...]
    folder: Path

    @property
    def rows(self) -> Path:
        """Rows of :data:`SHARD_SCHEMA`."""
        return self.folder / f"{self.number:06}.parquet"

    @property
    def rejects(self) -> Path:
        """Rows of :data:`REJECT_SCHEMA`."""
        return self.folder / f"{self.number:06}.rejects.parquet"

    @property
    def note(self) -> Path:
        """Written last: the shard is finished where it is there."""
        return self.folder / f"{self.number:06}.json"

    @property
    def masks(self) -> int:
        """About how many there are in it."""
        return sum(unit.masks for unit in self.units)

    def account(self) -> Account | None:
        """What became of its masks; None if it is not finished."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            return Account(**note | {"spent": Spending(**note["spent"])})
        except FileNotFoundError:
            return None


def plan(sources: Iterable[Source], folder: Path) -> Iterator[Shard]:
    """The shards of some sources, in order; the same sources give the same shards."""
    number = 0
    for source in sources:
        units: list[Unit] = []
        size = 0
        for unit in source.units():
            if units and size + unit.masks > SHARD_MASKS:
                yield Shard(number, source, tuple(units), folder)
                number, units, size = number + 1, [], 0
            units.append(unit)
            size += unit.masks
        if units:
            yield Shard(number, source, tuple(units), folder)
            number += 1


def make(shard: Shard, steps: Steps) -> Account:
    """Make a shard, or find that it is finished; returns what became of its masks."""
    *_, account = making(shard, steps)
    return account


def making(shard: Shard, steps: Steps) -> Iterator[Account]:
    """Make a shard sample by sample, giving its account so far after each."""
    if (account := shard.account()) is not None:
        yield account
        return
    account, png = Account(), PngOnce()
    yield account
    prints, pictures = Fingerprinter(), set[str]()
    with TableFile(shard.rows, SHARD_SCHEMA) as rows, TableFile(shard.rejects, REJECT_SCHEMA) as rejects:
        for unit in shard.units:
            for made in steps.run(shard.source, unit, account, pictures):
                if isinstance(made, Reject):
                    rejects.add(asdict(made) | {"source": shard.source.name})
                else:
                    rows.add(to_row(made.sample, png) | place(made) | prints.take(made.sample, made.stored).columns())
                yield account
    account.check(f"source {shard.source.name}, shard {shard.number}")
    write_json(shard.note, asdict(account))


def place(placed: Placed) -> dict[str, Any]:
    """The columns of a shard that are not the data set's."""
    return {"where": placed.where, "split": placed.split, "named": placed.named, "picture": placed.picture}


def read_shard(shard: Shard) -> Iterator[dict[str, Any]]:
    """Its rows, in order."""
    with pq.ParquetFile(shard.rows, pre_buffer=False) as file:
        for batch in file.iter_batches(_ROWS):
            yield from batch.to_pylist()


def read_rejects(shards: Sequence[Shard]) -> Iterator[pa.Table]:
    """Their rejects, a table per shard."""
    for shard in shards:
        yield pq.read_table(shard.rejects)
