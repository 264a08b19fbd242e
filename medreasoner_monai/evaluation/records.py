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
from medreasoner_monai.task.answer import Reason

SAMPLES = "samples.parquet"
METRICS = "metrics.json"
ABOUT = b"medreasoner"
"""In the table's metadata, as JSON: who answered what data by which prompt and segmenters, by digest."""


@dataclass(frozen=True)
class Record:
    """What a reasoner (and segmenters) made of one sample. Shapes are in the stored image's pixels.

    ``answered`` says whether a region was given, ``reason`` why not.

    ``masks`` maps ``"<segmenter>/<prompt kind>"`` to the Dice of that mask, ``more`` maps
    ``"<measure>/<segmenter>/<prompt kind>"`` to ``iou``, ``nsd`` and ``hd95``. An answer without a region has the worst
    value everywhere.

    ``present`` is False where the image does not show the target: an answer cannot overlap anything then, its
    ``box_iou`` and ``point_dice`` are 0 and it has no masks. Tables from before there were such samples lack it.
    ``absent`` says why it is not there, as the data has it.

    ``group`` is the patient, by which intervals are clustered (:func:`clusters`), and ``source`` the set that the
    sample comes from; both are empty in older tables.

    ``truth`` is the true box, ``picture`` identifies the image among the data set's, and ``midline`` is a column, where
    the sample is about a side (:mod:`~medreasoner_monai.evaluation.sides`).
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
    present: bool = True
    absent: str = ""
    picture: str = ""
    truth: list[float] | None = None
    midline: float | None = None
    group: str = ""
    source: str = ""

    @property
    def said_nothing(self) -> bool:
        """Whether the answer is that there is nothing to find."""
        return self.reason == Reason.NOTHING_FOUND

    @property
    def withheld(self) -> bool:
        """Whether there was a region whose confidence was too low to give."""
        return self.reason == Reason.UNSURE

    @property
    def unreadable(self) -> bool:
        """Whether the answer could not be read: neither a region nor a word about one."""
        return not (self.answered or self.said_nothing or self.withheld)


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


def clusters(records: Sequence[Record]) -> list[str]:
    """The group of each record; one without a group, of an older table, is a group of its own."""
    return [f"group {r.group}" if r.group else f"sample {r.id}" for r in records]


def write_records(path: Path, records: list[Record], about: Mapping[str, Any] | None = None) -> None:
    """Write the per-sample table.

    One column a field and one a mask score (``<measure>/<segmenter>/<prompt kind>``); ``about`` goes into its metadata.
    """
    rows: list[dict[str, Any]] = []
    for record in records:
        row = asdict(record)
        masks, more = row.pop("masks"), row.pop("more")
        rows.append(row | {f"dice/{name}": value for name, value in masks.items()} | more)
    # Of a row without a target there are no masks: the columns are those of all rows, not of the first.
    names = list(dict.fromkeys(name for row in rows for name in row))
    table = pa.Table.from_pylist([{name: row.get(name) for name in names} for row in rows])
    if about is not None:
        table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
    temporary = path.with_name(path.name + ".tmp")
    pq.write_table(table, temporary)
    temporary.replace(path)


def read_records(path: Path) -> list[Record]:
    """Read what :func:`write_records` wrote."""
    out = []
    for row in pq.read_table(path).to_pylist():
        values = {k: row.pop(k) for k in list(row) if "/" in k}
        scores = {k: v for k, v in values.items() if v is not None}
        masks = {k.removeprefix("dice/"): v for k, v in scores.items() if k.startswith("dice/")}
        more = {k: v for k, v in scores.items() if not k.startswith("dice/")}
        out.append(Record(**row, masks=masks, more=more))
    return out
