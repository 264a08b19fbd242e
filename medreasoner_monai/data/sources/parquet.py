"""Samples of files in the U-MRG schema, by ranges of rows; a bad row becomes a reject."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import SampleError, from_row, has_id, read_rows, row_count
from medreasoner_monai.data.sources.protocol import Placed, Unit
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from medreasoner_monai.settings.data import ParquetSettings

_ROWS = 256  # in a unit


@dataclass(frozen=True)
class ParquetSource:
    """Files that already say which split they are; without ``val``, a share of the groups of ``train`` becomes it."""

    settings: ParquetSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it, else that of its training file."""
        return self.settings.name or self.settings.train.stem

    @property
    def description(self) -> str:
        """For the data card."""
        return "U-MRG files"

    def identity(self) -> dict[str, Any]:
        """Settings, with each file's digest in the place of its path."""
        files = {split: _digest(path) for split, path in self._files()}
        return {**self.settings.model_dump(mode="json"), "train": None, "val": None, "test": None, **files}

    def units(self) -> Iterator[Unit]:
        """Ranges of rows, in the order train, val, test."""
        for split, path in self._files():
            total = row_count(path)
            for first in range(0, total, _ROWS):
                yield Unit(f"{split}:{first}", min(_ROWS, total - first))

    def read(self, unit: Unit) -> Iterator[Placed | Reject]:
        """The rows of a range."""
        split, _, start = unit.key.partition(":")
        path: Path = getattr(self.settings, split)
        first = int(start)
        for where, row in read_rows(path, first=first, stop=first + _ROWS):
            try:
                sample = from_row(row, where)
            except SampleError as error:
                yield Reject(where, str(error), masks=has_mask(row))
                continue
            yield Placed(sample, where, self._split(split, sample), named=has_id(row))

    def _files(self) -> Iterator[tuple[str, Path]]:
        for split in ("train", "val", "test"):
            path: Path | None = getattr(self.settings, split)
            if path is not None:
                yield split, path

    def _split(self, split: str, sample: Sample) -> str:
        if split == "train" and self.settings.val is None and in_val(sample.group, self.settings.val_share):
            return "val"
        return split


def parquet_samples(path: Path) -> Iterator[Sample | Reject]:
    """Samples of one file in order, and a reject in the place of each that cannot be used or has an earlier one's id.

    Raises
    ------
    InputError
        If it is missing or not a Parquet file.
    """
    ids = Ids()
    for where, row in read_rows(path):
        try:
            sample = from_row(row, where)
        except SampleError as error:
            yield Reject(where, str(error))
            continue
        reason = ids.refuse(sample.id, where)
        yield sample if reason is None else Reject(where, reason)


def in_val(group: str, share: float) -> bool:
    """A fixed share of the groups, chosen by a digest of the group's name, so that adding data moves nothing."""
    return zlib.crc32(group.encode()) / 2**32 < share


def has_mask(row: dict[str, Any]) -> int:
    """1 where a row's ground truth has a box or cannot be read, 0 where it says that there is no target."""
    try:
        return int(json.loads(row["reward_model"]["ground_truth"])["bbox_2d"] is not None)
    except (KeyError, TypeError, ValueError):
        return 1


def _digest(path: Path) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise InputError(f"the data file {path} cannot be read: {error.strerror}") from None
