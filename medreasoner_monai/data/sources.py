"""Samples of files in the U-MRG schema; a bad sample becomes a reject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

from medreasoner_monai.data.schema import Sample, SampleError, from_row, has_id, read_rows


@dataclass(frozen=True)
class Reject:
    """A sample that was set aside, and why."""

    where: str
    reason: str


class Ids:
    """The ids of a data set's samples and where each was first met. Everything downstream tells samples by their id.

    >>> ids = Ids({"a": "the train split"})
    >>> ids.refuse("b", "row 0"), ids.refuse("a", "row 1")
    (None, "sample a: another sample in the train split has this id; give each sample its own")
    """

    def __init__(self, taken: Mapping[str, str] | None = None) -> None:
        self._first = dict(taken or {})

    def refuse(self, name: str, where: str) -> str | None:
        """Take an id; the reason why it cannot be had, or None where it was free."""
        if name in self._first:
            return f"sample {name}: another sample in {self._first[name]} has this id; give each sample its own"
        self._first[name] = where
        return None

    def free(self, name: str) -> str:
        """The name with the first number behind it that makes it an id nobody has."""
        return next(made for n in count(2) if (made := f"{name} ({n})") not in self._first)


def parquet_samples(
    path: Path, *, ids: Ids | None = None, keep: Callable[[Sample], bool] | None = None, unreadable: bool = True
) -> Iterator[Sample | Reject]:
    """Samples of a U-MRG file in order, and a reject in the place of each that cannot be used.

    Parameters
    ----------
    ids:
        Those that samples of other files have; a sample that has one of them, or that of an earlier row, is a reject.
        Rows without an id are named by their place in the file.
    keep:
        Which samples are asked for, all by default; what is not kept takes no id.
    unreadable:
        Whether rows that cannot be read are reported.
    """
    ids = Ids() if ids is None else ids
    for where, row in read_rows(path):
        try:
            sample = from_row(row, where)
        except SampleError as error:
            if unreadable:
                yield Reject(where, str(error))
            continue
        if keep is not None and not keep(sample):
            continue
        reason = ids.refuse(sample.id, where)
        if reason is None:
            yield sample
        elif has_id(row):
            yield Reject(where, reason)
        else:  # a file of the same name, in another folder
            sample = replace(sample, id=ids.free(sample.id))
            ids.refuse(sample.id, where)
            yield sample
