"""Slices that share places: echoes, phases or weightings of one series are parts, each a stack of its own.

A volume, and a walk from slice to neighbouring slice, make sense in one part only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.placement import Plane
from medreasoner_monai.dicom.values import frame_value

# What images in one place differ in, and the functional group that holds it in a multi-frame image.
_TELLING = (
    ("TemporalPositionIdentifier", "FrameContentSequence"),
    ("TemporalPositionIndex", "FrameContentSequence"),
    ("TemporalPositionTimeOffset", "TemporalPositionSequence"),
    ("StackID", "FrameContentSequence"),
    ("EchoNumbers", "MREchoSequence"),
    ("EchoTime", "MREchoSequence"),
    ("EffectiveEchoTime", "MREchoSequence"),
    ("DiffusionBValue", "MRDiffusionSequence"),
    ("DiffusionGradientOrientation", "MRDiffusionSequence"),
    ("NominalCardiacTriggerDelayTime", "CardiacSynchronizationSequence"),
    ("TriggerTime", ""),
    ("InversionTime", ""),
    ("RepetitionTime", ""),
    ("FlipAngle", ""),
    ("ComplexImageComponent", "MRImageFrameTypeSequence"),
    ("ImageType", ""),
    ("AcquisitionNumber", ""),
    ("ConvolutionKernel", ""),
    ("KVP", ""),
    ("FrameReferenceTime", ""),
    ("AcquisitionTime", ""),
    ("ContentTime", ""),
)


@dataclass(frozen=True)
class Part:
    """Slices in order; ``name`` says what tells them from other parts, ``number`` counts from 1 (0 for the only)."""

    planes: tuple[Plane, ...]
    name: str = ""
    number: int = 0
    notes: tuple[str, ...] = ()


def split(planes: Sequence[Plane], headers: Sequence[Dataset]) -> list[Part]:
    """Put slices in order, and tell parts from each other where several slices lie in each place.

    Slices that share a place and differ in nothing known stay together; :func:`crowded` finds them again.
    """
    numbers = [instance_number(headers[p.file]) or 0 for p in planes]
    along = placement.heights(planes)
    if along is None:
        order = sorted(range(len(planes)), key=lambda i: (numbers[i], planes[i].file, planes[i].frame))
        return [Part(tuple(planes[i] for i in order))]
    where = placement.places(along)
    most = max(Counter(where.tolist()).values())
    order = sorted(range(len(planes)), key=lambda i: (int(where[i]), numbers[i], planes[i].file, planes[i].frame))
    if most == 1:
        return [Part(tuple(planes[i] for i in order))]
    told = _tell_apart(planes, headers, where, most)
    if where.max() == 0:
        return [_sequence(planes, order, told)]
    if told is None:
        return [Part(tuple(planes[i] for i in order))]
    keywords, values = told
    distinct = sorted(set(values), key=_sortable)
    note = f"{most} images lie in each place, which differ in {keywords}: each set is a part of its own"
    return [
        Part(tuple(planes[i] for i in order if values[i] == value), f"{keywords}, {n} of {most}", n, (note,))
        for n, value in enumerate(distinct, 1)
    ]


def crowded(planes: Sequence[Plane]) -> tuple[int, int] | None:
    """Two slices of different images that lie in one place among others that do not, by their numbers; or None."""
    along = placement.heights(planes)
    if along is None or len(planes) < 2:
        return None
    where = placement.places(along)
    if where.max() == 0:
        return None
    both = np.flatnonzero(np.diff(where) == 0)
    return (int(both[0]), int(both[0]) + 1) if both.size else None


def instance_number(header: Dataset) -> int | None:
    """Instance Number, where it is a number."""
    try:
        return int(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError, OverflowError):
        return None


def _sequence(planes: Sequence[Plane], order: list[int], told: tuple[str, list[Hashable]] | None) -> Part:
    """All in one place: a sequence in time, or repeated images; nothing of it is a volume."""
    differ = "in nothing but their numbers"
    if told is not None:
        keywords, values = told
        order = sorted(order, key=lambda i: _sortable(values[i]))
        differ = f"in {keywords}"
    note = f"all {len(planes)} images lie in one place and differ {differ}: a sequence, without a volume"
    return Part(tuple(planes[i] for i in order), notes=(note,))


def _tell_apart(
    planes: Sequence[Plane], headers: Sequence[Dataset], where: NDArray[np.int64], most: int
) -> tuple[str, list[Hashable]] | None:
    """The attributes whose values form exactly ``most`` groups, none with two slices in one place."""
    known = {keyword: values for keyword, values in _values(planes, headers) if 1 < len(set(values)) <= most}
    for together in (1, 2):
        for keywords in combinations(known, together):
            values: list[Hashable] = [tuple(known[k][i] for k in keywords) for i in range(len(planes))]
            pairs = set(zip(values, where.tolist(), strict=True))
            if len(set(values)) == most and len(pairs) == len(planes):
                return " and ".join(keywords), values
    return None


def _values(planes: Sequence[Plane], headers: Sequence[Dataset]) -> Iterator[tuple[str, list[Hashable]]]:
    for keyword, group in _TELLING:
        yield keyword, [_plain(frame_value(headers[p.file], p.frame, group, keyword)) for p in planes]


def _plain(value: object) -> Hashable:
    if isinstance(value, str | int | float) or value is None:
        return value
    return tuple(str(v) for v in value) if isinstance(value, Sequence) else str(value)


def _sortable(value: Hashable) -> tuple[tuple[int, float, str], ...]:
    """An order for values of any kind: absent ones first, then numbers, then text."""
    parts = value if isinstance(value, tuple) else (value,)
    keys = []
    for part in parts:
        try:
            keys.append((1, float(str(part)), ""))
        except ValueError:
            keys.append((0 if part is None else 2, 0.0, str(part)))
    return tuple(keys)
