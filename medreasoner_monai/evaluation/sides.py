"""Left for right: how often a region lies where the other one of a pair is.

Nothing here knows which side of a picture is the patient's left. A region is on the wrong side when it is nearer to the
target's counterpart than to the target, whichever way the picture lies.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.evaluation.bootstrap import Estimate
from medreasoner_monai.evaluation.rates import rate
from medreasoner_monai.evaluation.records import Record, clusters
from medreasoner_monai.task.taxonomy import TAXONOMY

_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)
_OTHER = {"left": "right", "right": "left"}
OFF = 0.9
"""Share of a target's pixels that must lie on one side of the midline for its mirror image to be another place."""


def counterpart(category: str) -> str | None:
    """The category of the other side, or None if the category has no side.

    >>> counterpart("left kidney"), counterpart("liver"), counterpart("left heart ventricle")
    ('right kidney', None, None)
    """
    if not _has_side(category):
        return None
    name, times = _SIDE.subn(lambda found: _OTHER[found[0].lower()], category)
    return name if times else None


def is_sided(category: str, question: str) -> bool:
    """Whether category or question names a side."""
    return bool((_has_side(category) and _SIDE.search(category)) or _SIDE.search(question))


def _has_side(category: str) -> bool:
    """Not where the taxonomy knows it and says otherwise: a left ventricle is a chamber, wherever it lies."""
    known = TAXONOMY.get(category.lower())
    return known is None or bool(known.side)


def midline(image: NDArray[np.uint8]) -> float:
    """The column of the vertical axis about which a picture is most like its mirror image.

    The mirrored picture is laid over the picture in every position; where the product of the two is largest, the axis
    is. It is looked for in the middle half of the picture.

    Parameters
    ----------
    image:
        ``(rows, cols)`` grey or ``(rows, cols, 3)``.

    Returns
    -------
    A continuous column, as coordinates of boxes are.
    """
    from scipy.signal import fftconvolve

    grey = np.asarray(image if image.ndim == 2 else image.mean(axis=2), dtype=float)
    # A row convolved with itself at s sums over pairs of columns x + x' = s, whose axis is (s + 1) / 2.
    likeness = fftconvolve(grey, grey, axes=1).sum(axis=0)
    axes = (np.arange(likeness.size) + 1) / 2
    width = grey.shape[1]
    inside = (axes >= width / 4) & (axes <= 3 * width / 4)
    return float(axes[inside][likeness[inside].argmax()])


def target_midline(sample: Sample) -> float | None:
    """The picture's midline, if the sample is about a side and its target lies off the line; otherwise None."""
    if not sample.present or not is_sided(sample.category, sample.question):
        return None
    line = midline(sample.image)
    before = float((np.nonzero(sample.mask)[1] + 0.5 < line).mean())
    return line if max(before, 1 - before) >= OFF else None


def crossings(records: Sequence[Record]) -> dict[str, bool]:
    """By id, whether a region given for a target with a side lies nearer to its counterpart; of such regions alone.

    Where the data set asks for the counterpart in the same picture too, the centres of the two true boxes are what the
    region's centre is held against. Elsewhere the counterpart is the target's mirror image at the picture's midline; a
    target across the midline has none and is left out.
    """
    places: dict[tuple[str, str], list[float]] = {
        (r.picture, r.category): r.truth for r in records if r.picture and r.truth is not None
    }
    found = {}
    for record in records:
        if record.bbox is None or record.truth is None or not is_sided(record.category, record.question):
            continue
        x, y = _centre(record.truth)
        other = counterpart(record.category)
        pair = places.get((record.picture, other)) if record.picture and other else None
        if pair is not None:
            across = _centre(pair)
        elif record.midline is not None:
            across = (2 * record.midline - x, y)
        else:
            continue
        given = _centre(record.bbox)
        found[record.id] = math.dist(given, across) < math.dist(given, (x, y))
    return found


def sides_report(records: Sequence[Record]) -> dict[str, Any]:
    """What ``metrics.json`` says of sides.

    Returns
    -------
    dict
        ``samples`` that are about a side, ``regions`` given for them of which the side can be judged,
        ``confusion_rate`` over these, also ``by_category`` (estimates with 95 % intervals, None of nothing).
    """
    crossed = crossings(records)
    judged = [r for r in records if r.id in crossed]
    kinds: dict[str, list[Record]] = defaultdict(list)
    for record in judged:
        kinds[record.category].append(record)

    def share(part: Sequence[Record]) -> Estimate | None:
        return rate([crossed[r.id] for r in part], clusters(part))

    overall = share(judged)
    return {
        "samples": sum(r.present and is_sided(r.category, r.question) for r in records),
        "regions": len(crossed),
        "confusion_rate": None if overall is None else overall.as_dict(),
        "by_category": {name: e.as_dict() for name in sorted(kinds) if (e := share(kinds[name])) is not None},
    }


def _centre(box: Sequence[float]) -> tuple[float, float]:
    x1, y1, x2, y2 = box
    return (x1 + x2) / 2, (y1 + y2) / 2
