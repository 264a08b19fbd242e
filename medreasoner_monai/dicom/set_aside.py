"""Damaged instances beside whole ones: which are set aside, and why, so that the rest of a study can be answered.

A file whose header cannot be read, or whose pixel data are cut, is set aside where the rest of its series is a volume
in which a gap shows: at least two slices in space, and more of them than are damaged. It is never done silently: the
series says so in its notes, the file and the reason stand in ``Series.set_aside``, and every finding is flagged.
Elsewhere (a single radiograph, images without places) nobody could tell what is missing, and the series is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydicom import dcmread

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.instance import Instance
from medreasoner_monai.dicom.placement import Plane
from medreasoner_monai.errors import DicomError

_NEXT_TO = 1e-3
_T = TypeVar("_T")


@dataclass(frozen=True)
class Damaged:
    """An instance that could not be read.

    Attributes
    ----------
    reason:
        Names the instance and says what is wrong; no value of the file.
    series_uid:
        Series Instance UID, where that much can be read; None where it may belong to any series.
    """

    reason: str
    series_uid: str | None = None


@dataclass(frozen=True)
class Rest:
    """What remains of a series' instances.

    Attributes
    ----------
    used:
        The instances to take.
    aside:
        Instances whose header could be read, and which are left out.
    reasons:
        Why each instance is left out, those that could not be read among them.
    problems:
        Why the series cannot be used; empty where the rest is whole enough.
    """

    used: tuple[Instance, ...]
    aside: tuple[Instance, ...] = ()
    reasons: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_each(items: Iterable[_T], read: Callable[[_T], Instance]) -> Iterator[Instance | Damaged]:
    """Read every item; one that cannot be read is returned as damaged and does not end the rest."""
    for item in items:
        try:
            yield read(item)
        except DicomError as error:
            yield Damaged(str(error), series_uid_of(item))


def series_uid_of(item: object) -> str | None:
    """The Series Instance UID of a file or data set whose header is damaged, where it can be read at all."""
    try:
        dataset = (
            dcmread(item, stop_before_pixels=True, force=True, specific_tags=["SeriesInstanceUID"])
            if isinstance(item, Path)
            else item
        )
        value = str(dataset.get("SeriesInstanceUID") or "").strip()  # type: ignore[attr-defined]
    except Exception:  # pydicom raises many kinds on damaged files
        return None
    return value or None


def separate(members: Sequence[Instance], damaged: Sequence[Damaged]) -> Rest:
    """Which instances of a series to use.

    Parameters
    ----------
    members:
        Instances of one series whose headers could be read.
    damaged:
        Instances that could not be read: of this series, or possibly of it.
    """
    bad = [m for m in members if m.problem]
    good = [m for m in members if not m.problem]
    certain = [d for d in damaged if d.series_uid is not None]
    lost = [str(m.problem) for m in bad] + [d.reason for d in certain]
    perhaps = tuple(d.reason for d in damaged if d.series_uid is None)
    if not lost:
        return Rest(tuple(members), reasons=perhaps)
    planes = [p for i, m in enumerate(good) for p in placement.planes_of(m.header, i)]
    usable = len(good) == len(planes) and len(good) > max(len(lost), 1) and placement.in_space(planes)
    if not usable:
        return Rest(tuple(members), reasons=perhaps, problems=tuple(lost))
    return Rest(tuple(good), tuple(bad), (*lost, *perhaps))


def remarks(rest: Rest, planes: Sequence[Plane]) -> Iterator[str]:
    """What a reader should know of the instances that were set aside; no names of files.

    Parameters
    ----------
    planes:
        Of the slices that remain, in order.
    """
    for instance in rest.aside:
        yield f"a damaged image was set aside: its slice is missing {_place(instance, planes)}"
    unread = len(rest.reasons) - len(rest.aside)
    if unread:
        yield f"{unread} damaged file(s) of this series, or possibly of it, could not be read: slices may be missing"


def _place(instance: Instance, planes: Sequence[Plane]) -> str:
    along = placement.heights(planes)
    plane = next(iter(placement.planes_of(instance.header, 0)), None)
    normal = planes[0].normal if planes else None
    if along is None or normal is None or plane is None or plane.position is None:
        return "at a place that is not known"
    after = int(np.searchsorted(along, float(plane.position @ normal) - _NEXT_TO))
    if after == 0:
        return "before slice 0, the first that remains"
    if after == len(along):
        return f"after slice {after - 1} (counted from 0), the last that remains"
    return f"between slices {after - 1} and {after}, counted from 0"
