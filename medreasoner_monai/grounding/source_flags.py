"""What a reader must know of the images that an answer rests on: files that were set aside, slices that are missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Finding, Flag

_MISSING = 1.5


def with_source_flags(series: Series, finding: Finding) -> Finding:
    """The finding, flagged where the series is not whole.

    A file that was set aside is said whatever was found: what was not found may lie on it. A gap between slices is said
    where it touches the region, whose volume and extent are then too small.
    """
    flags = tuple(Flag("source", text) for text in _faults(series, finding))
    return replace(finding, flags=(*finding.flags, *flags)) if flags else finding


def _faults(series: Series, finding: Finding) -> Iterator[str]:
    if count := len(series.set_aside):
        yield (
            f"{count} damaged file(s) were set aside: the series is not whole, and nothing is said about the slices "
            "that are missing; measurements leave them out"
        )
    marked = finding.marked
    for before, missing in gaps(series):
        if before in marked or before + 1 in marked:
            yield (
                f"about {missing} slice(s) are missing between slices {before} and {before + 1} (counted from 0), "
                "where the region lies: its volume and extent leave them out"
            )


def gaps(series: Series) -> list[tuple[int, int]]:
    """Where slices are missing in a stack: the number of the slice before (from 0), and about how many.

    A gap is a distance of more than one and a half times the median along the slices' normal.
    """
    along = placement.heights(series.planes)
    if along is None or len(along) < 3:
        return []
    steps = np.diff(along)
    if (steps <= placement.SAME_PLACE).any():
        return []
    middle = float(np.median(steps))
    return [(int(i), round(steps[i] / middle) - 1) for i in np.flatnonzero(steps > _MISSING * middle)]
