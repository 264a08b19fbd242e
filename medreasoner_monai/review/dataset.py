"""A curated data set as a reviewer goes through it: an index of its samples, each read when it is opened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from medreasoner_monai.data.review.events import Field, mask_digest, picture_digest, text_digest
from medreasoner_monai.data.review.outcome import fields_of
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import decode_mask, from_row, read_rows, row_count
from medreasoner_monai.data.splits import SPLITS
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import object_digest, remembered_digest

_CACHED = 32  # samples in memory
_INFO = ("id", "group", "category", "modality", "trace")


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample: where it lies, and what queues and agreement need of it."""

    id: str
    file: Path
    row: int
    group: str
    category: str
    modality: str
    parts: tuple[Field, ...]


class ReviewedData:
    """The samples of a folder of splits or of one Parquet file, in the order of their ids.

    Raises
    ------
    InputError
        If there is no data set, a sample has no id, or two have the same.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.files = _files(path)
        self.entries: Sequence[Entry] = sorted(
            (entry for file in self.files for entry in _entries(file)), key=lambda e: e.id
        )
        self.by_id = {entry.id: index for index, entry in enumerate(self.entries)}
        if len(self.by_id) != len(self.entries):
            twice = next(a.id for a, b in zip(self.entries, self.entries[1:], strict=False) if a.id == b.id)
            raise InputError(f"{path}: two samples have the id {twice}; curate it first, which makes ids unique")
        self.sample = lru_cache(_CACHED)(self._sample)

    @property
    def name(self) -> str:
        """The folder's or the file's name, for people."""
        return self.path.resolve().name

    @property
    def digest(self) -> str:
        """sha256 over the digests of its files."""
        return object_digest([[file.name, remembered_digest(file)] for file in self.files])

    def _sample(self, index: int) -> Sample:
        """The sample at a place of :attr:`entries`.

        Raises
        ------
        SampleError
            If its row cannot be used.
        """
        entry = self.entries[index]
        ((where, row),) = read_rows(entry.file, batch=8, first=entry.row, stop=entry.row + 1)
        return from_row(row, where)

    def get(self, sample: str) -> Sample | None:
        """A sample by its id; None if the data set has none."""
        index = self.by_id.get(sample)
        return None if index is None else self.sample(index)

    def seen(self, samples: Iterable[str]) -> dict[str, Mapping[Field, str]]:
        """The digest of each part of some samples, as verdicts note them; pictures are not read for it."""
        found: dict[str, Mapping[Field, str]] = {}
        wanted = {index for name in samples if (index := self.by_id.get(name)) is not None}
        for file in self.files:
            rows = {self.entries[i].row: self.entries[i].id for i in wanted if self.entries[i].file == file}
            if not rows:
                continue
            number = 0
            for batch in pq.ParquetFile(file).iter_batches(64, columns=["prompt", "masks", "extra_info.trace"]):
                for at in range(len(batch)):
                    if (name := rows.get(number + at)) is not None:
                        found[name] = _seen(batch.slice(at, 1).to_pylist()[0], name)
                number += len(batch)
        return found

    def bind(self, store: ReviewStore) -> None:
        """Make sure that a store's verdicts are on this data set.

        Raises
        ------
        InputError
            If the store has verdicts on a sample that is not here, or is another picture here.
        """
        digest = self.digest
        if store.knows(digest):
            return
        judged = ((name, self.get(name)) for name in store.pictures())
        store.bind(digest, {name: picture_digest(sample.image) for name, sample in judged if sample is not None})


def _seen(row: dict[str, Any], name: str) -> Mapping[Field, str]:
    trace = row["extra_info"]["trace"] or ""
    mask = decode_mask(row["masks"][0]["bytes"], f"sample {name}, mask")
    question = row["prompt"][0]["content"].strip().removeprefix("<image>")
    digests: dict[Field, str] = {
        "question": text_digest(question),
        "mask": mask_digest(mask),
        "trace": text_digest(trace),
    }
    return {part: digests[part] for part in fields_of(trace)}


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [file for split in SPLITS if (file := path / f"{split}.parquet").is_file()]
    if not files:
        raise InputError(f"{path} is not a data set: a Parquet file, or a folder with train, val or test.parquet")
    return files


def _entries(file: Path) -> list[Entry]:
    row_count(file)  # says what is wrong with a file that is not one
    try:
        info = pq.ParquetFile(file).read(columns=[f"extra_info.{name}" for name in _INFO])["extra_info"].to_pylist()
    except KeyError:
        raise InputError(f"{file} has no column extra_info with the samples' ids; curate it first") from None
    found = []
    for row, one in enumerate(info):
        name = (one or {}).get("id")
        if not name:
            raise InputError(f"{file.name} row {row} has no id; curate it first")
        values = {key: one.get(key) or "" for key in _INFO}
        parts = fields_of(values.pop("trace"))
        found.append(Entry(file=file, row=row, parts=parts, **values | {"group": values["group"] or f"sample {name}"}))
    return found
