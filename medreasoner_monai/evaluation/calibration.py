"""Fit what an agreement of answers is worth: isotonic regression on validation answers (Zadrozny & Elkan, KDD 2002)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.reasoners.calibration import DIGITS, Calibration

Array = NDArray[np.float64]

GROUP = 10
"""Answers per knot, at least: the mean of fewer says too little about the next ones."""
LEAST = 50
"""Validation answers under which nothing is fitted."""


def fit_calibration(records: Sequence[Record], answers: int, temperature: float) -> Calibration | None:
    """The calibration that validation records give; None where there are fewer than :data:`LEAST` to fit on.

    Answers of similar agreement are averaged in groups of at least :data:`GROUP` first, equal agreements together, and
    the isotonic regression is fitted on the groups' means, weighted by their sizes. Fitted on single answers it would
    follow every outlier at both ends, where its first and last step may rest on one answer.

    Parameters
    ----------
    records:
        Of the validation split. Those with a region count, with their box IoU; it is 0 for a region given where the
        target is absent.
    answers, temperature:
        How the answers were drawn.
    """
    from sklearn.isotonic import IsotonicRegression

    given = [r for r in records if r.answered and r.confidence is not None]
    if len(given) < LEAST:
        return None
    agreement = np.array([r.confidence for r in given], dtype=float)
    quality = np.array([r.box_iou for r in given])
    x, y, size = _groups(agreement, quality)
    # Rounded first, so that two groups cannot end up as one knot.
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(x, y, sample_weight=size).predict(x)
    expected = np.maximum.accumulate(fitted.clip(0, 1).round(DIGITS))
    return Calibration(tuple(x.tolist()), tuple(expected.tolist()), answers, temperature, len(given))


def _groups(agreement: Array, quality: Array) -> tuple[Array, Array, Array]:
    """Mean agreement (rounded), mean quality and size of groups in order of agreement, ``(K,)`` each."""
    order = np.argsort(agreement, kind="stable")
    x, y = agreement[order].round(DIGITS), quality[order]
    starts, last = [0], 0
    for i in range(1, x.size):
        # A group ends only between two different agreements, and leaves enough for another.
        if x[i] != x[i - 1] and i - last >= GROUP and x.size - i >= GROUP:
            starts.append(i)
            last = i
    edges = [*starts, x.size]
    parts = [slice(a, b) for a, b in pairwise(edges)]
    means = np.array([x[p].mean() for p in parts]).round(DIGITS)
    return means, np.array([y[p].mean() for p in parts]), np.array([float(p.stop - p.start) for p in parts])
