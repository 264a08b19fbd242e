"""When to keep silent: how confidence and quality go together, and the threshold under which no answer is given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.bootstrap import mean_interval, statistic_interval
from medreasoner_monai.evaluation.records import Record, clusters

Array = NDArray[np.float64]
BINS = 10


@dataclass(frozen=True)
class Threshold:
    """Answers with at least ``value`` of confidence are given: ``coverage`` of all, of mean ``quality``."""

    value: float
    coverage: float
    quality: float


def risk_coverage(confidence: ArrayLike, quality: ArrayLike) -> list[Threshold]:
    """What is answered and how well, for every threshold that changes it, from the strictest on.

    Parameters
    ----------
    confidence, quality:
        ``(N,)`` each; quality such as the box IoU, risk is one less it (El-Yaniv & Wiener, JMLR 2010).
    """
    c, q = np.asarray(confidence, dtype=float), np.asarray(quality, dtype=float)
    if c.shape != q.shape or c.size == 0:
        raise InputError(f"confidence and quality are of the same samples, got {c.size} and {q.size}")
    order = np.argsort(-c, kind="stable")
    c, means = c[order], q[order].cumsum() / np.arange(1, c.size + 1)
    last = np.flatnonzero(np.append(c[1:] != c[:-1], True))  # equal confidences are answered together
    return [Threshold(float(c[i]), float((i + 1) / c.size), float(means[i])) for i in last]


def weighted_area(confidence: Array, quality: Array, weights: Array) -> float:
    """:func:`area` of the curve of samples that are drawn ``weights`` ``(N,)`` times; 0 of none.

    Samples are given in descending order of confidence.
    """
    last = np.flatnonzero(np.append(confidence[1:] != confidence[:-1], True))
    answered, good = weights.cumsum()[last], (weights * quality).cumsum()[last]
    quality_at = np.divide(good, answered, out=np.ones_like(good), where=answered > 0)
    return float(np.sum(np.diff(answered, prepend=0.0) * (1 - quality_at)) / max(weights.sum(), 1e-12))


def area(curve: Sequence[Threshold]) -> float:
    """The mean risk (one less quality) over all coverages; lower is better."""
    widths = np.diff([0.0, *(t.coverage for t in curve)])
    return float(np.sum(widths * [1 - t.quality for t in curve]))


def fit_threshold(confidence: ArrayLike, quality: ArrayLike, wanted: float) -> Threshold:
    """The threshold that answers most while the answers' mean quality is at least ``wanted``.

    To be fitted on validation, never on test.

    Raises
    ------
    InputError
        If no threshold reaches it.
    """
    good = [t for t in risk_coverage(confidence, quality) if t.quality >= wanted]
    if not good:
        best = max(risk_coverage(confidence, quality), key=lambda t: t.quality)
        raise InputError(f"no threshold reaches a mean quality of {wanted:.3f}; the best is {best.quality:.3f}")
    return max(good, key=lambda t: t.coverage)


def calibration(
    confidence: ArrayLike, quality: ArrayLike, groups: Sequence[str] | None = None, *, bins: int = BINS
) -> dict[str, Any]:
    """Confidence against quality: the error of one as a prediction of the other.

    Parameters
    ----------
    groups:
        The patient of each sample, by which intervals are clustered.

    Returns
    -------
    dict
        ``expected_error``: the mean gap between the two in equal bins of [0, 1], weighted by count (ECE);
        ``squared_error``: the mean squared difference, which no choice of bins decides; and the ``bins``, each with the
        95 % interval (``low``, ``high``) of its mean quality.
    """
    c, q = np.asarray(confidence, dtype=float), np.asarray(quality, dtype=float)
    place = np.clip((c * bins).astype(int), 0, bins - 1)
    rows = []
    for b in range(bins):
        inside = np.flatnonzero(place == b)
        if inside.size:
            found = mean_interval(q[inside], None if groups is None else [groups[i] for i in inside])
            ends = {"low": round(found.low, 5), "high": round(found.high, 5)}
            rows.append({"confidence": float(c[inside].mean()), "quality": found.mean, **ends, "n": found.n})
    gap = sum(r["n"] * abs(r["confidence"] - r["quality"]) for r in rows) / c.size
    return {
        "expected_error": round(float(gap), 5),
        "squared_error": round(float(np.mean((c - q) ** 2)), 5),
        "bins": rows,
    }


def confidence_columns(records: Sequence[Record]) -> tuple[Array, Array]:
    """Confidence and box IoU of the regions that were given, ``(N,)`` each.

    Only they have a confidence that predicts a box IoU; it is 0 for a region where the target is absent.
    """
    given = [r for r in records if r.answered]
    return np.array([r.confidence for r in given], dtype=float), np.array([r.box_iou for r in given], dtype=float)


def confidence_report(records: Sequence[Record]) -> dict[str, Any] | None:
    """What ``metrics.json`` says of confidence; None when there is no region, or one without a confidence."""
    confidence, quality = confidence_columns(records)
    if not confidence.size or np.isnan(confidence).any():
        return None
    groups = clusters([r for r in records if r.answered])
    order = np.argsort(-confidence, kind="stable")
    area_interval = statistic_interval(
        lambda weights: weighted_area(confidence[order], quality[order], weights),
        quality.size,
        [groups[i] for i in order],
    )
    squared = mean_interval((confidence - quality) ** 2, groups)
    curve = risk_coverage(confidence, quality)
    every = max(1, len(curve) // 100)
    return {
        "quality": "box_iou",
        "n": int(confidence.size),
        "calibration": calibration(confidence, quality, groups),
        "area_under_risk": round(area(curve), 5),
        "intervals": {"area_under_risk": area_interval.as_dict(), "squared_error": squared.as_dict()},
        "risk_coverage": [asdict(t) for t in [*curve[:-1:every], curve[-1]]],
    }
