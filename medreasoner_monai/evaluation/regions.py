"""Targets of one region and targets of many parts.

Nuclei, vessels or teeth lie all over a picture: one box and two points cannot say where they are, and a box over the
whole picture is right for them whatever it shows. They are reported apart, and headline figures leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence

from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.task.taxonomy import TAXONOMY


def many_parts(category: str) -> bool:
    """Whether the taxonomy says that a category is made of many separate parts; False for one that it does not have."""
    return bool(getattr(TAXONOMY.get(category), "many_parts", False))


def headline(records: Sequence[Record]) -> list[Record]:
    """The present targets that headline figures are over: those of one region, or all where there are no such ones."""
    present = [r for r in records if r.present]
    return [r for r in present if not many_parts(r.category)] or present
