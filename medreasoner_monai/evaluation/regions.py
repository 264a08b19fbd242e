"""Targets of one region and targets of many parts.

Nuclei, vessels or teeth lie all over a picture: one box and two points cannot say where they are, and a box over the
whole picture is right for them whatever it shows. They are reported apart, and headline figures leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.task import taxonomy


def many_parts(record: Record) -> bool:
    """Whether the taxonomy says that a record's target, as its source calls it, is many separate parts."""
    return _many_parts(record.category, record.source, taxonomy.generation())


@lru_cache(maxsize=4096)
def _many_parts(category: str, source: str, _taxonomy: int) -> bool:
    return taxonomy.many_parts(category, source)


def headline(records: Sequence[Record]) -> list[Record]:
    """The present targets that headline figures are over: those of one region, or all where there are no such ones."""
    present = [r for r in records if r.present]
    return [r for r in present if not many_parts(r)] or present
