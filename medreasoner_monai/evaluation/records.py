"""One evaluated sample, and the files an evaluation consists of."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from medreasoner_monai.errors import InputError

SAMPLES = "samples.parquet"
METRICS = "metrics.json"
ABOUT = b"medreasoner"
"""In the table's metadata, as JSON: who answered what data by which prompt and segmenters, by digest."""


@dataclass(frozen=True)
class Record:
    """What a reasoner (and segmenters) made of one sample. Shapes are in the stored image's pixels.

    ``masks`` maps ``"<segmenter>/<prompt kind>"`` to the Dice of that mask, ``more`` maps
    ``"<measure>/<segmenter>/<prompt kind>"`` to ``iou``, ``nsd`` and ``hd95``. An answer without a region has the worst
    value everywhere.
    """

    id: str
    category: str
    supercategory: str
    modality: str
    question: str
    text: str
    answered: bool
    reason: str
    trace: str
    bbox: list[float] | None
    points: list[list[float]] | None
    box_iou: float
    point_dice: float
    masks: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    more: dict[str, float] = field(default_factory=dict)
    confidence: float | None = None


def by_id(records: Sequence[Record]) -> dict[str, Record]:
    """Records by their sample's id, for pairs.

    Raises
    ------
    InputError
        If two have the same.
    """
    found = {r.id: r for r in records}
    if len(found) != len(records):
        twice = next(name for name, times in Counter(r.id for r in records).items() if times > 1)
        raise InputError(
            f"the evaluation has sample {twice} more than once, so that it cannot be paired with another; give each "
            "sample an id of its own and evaluate again"
        )
    return found


def write_records(path: Path, records: list[Record], about: Mapping[str, Any] | None = None) -> None:
    """Write the per-sample table.

    One column a field and one a mask score (``<measure>/<segmenter>/<prompt kind>``); ``about`` goes into its metadata.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        row = asdict(record)
        masks, more = row.pop("masks"), row.pop("more")
        rows.append(row | {f"dice/{name}": value for name, value in masks.items()} | more)
    table = pa.Table.from_pylist(rows)
    if about is not None:
        table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def read_records(path: Path) -> list[Record]:
    """Read what :func:`write_records` wrote."""
    out = []
    for row in pq.read_table(path).to_pylist():
        masks = {k.removeprefix("dice/"): row.pop(k) for k in list(row) if k.startswith("dice/")}
        more = {k: row.pop(k) for k in list(row) if "/" in k}
        out.append(Record(**row, masks=masks, more=more))
    return out
