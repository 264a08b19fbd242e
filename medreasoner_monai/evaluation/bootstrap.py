"""Percentile bootstrap intervals, of a mean and of a paired difference (Efron & Tibshirani 1993, chapter 13)."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from medreasoner_monai.errors import InputError


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, over ``n`` samples."""

    mean: float
    low: float
    high: float
    n: int

    def as_dict(self) -> dict[str, float]:
        """For JSON, rounded to what means something."""
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}


def mean_interval(values: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """The mean of ``(N,)`` values and its 95 % percentile interval.

    Raises
    ------
    InputError
        If there are no values.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.size == 0:
        raise InputError("no samples to average; check the split and the filters")
    rng = np.random.default_rng(seed)
    # Counting how often each sample is drawn turns all resamples into one matrix product.
    weights = rng.multinomial(v.size, np.full(v.size, 1 / v.size), size=resamples)
    low, high = np.percentile(weights @ v / v.size, [2.5, 97.5])
    return Estimate(float(v.mean()), float(low), float(high), int(v.size))


def paired_difference(a: ArrayLike, b: ArrayLike, *, resamples: int = 2000, seed: int = 0) -> Estimate:
    """The mean of ``b - a`` over the same samples ``(N,)`` and its 95 % interval.

    Raises
    ------
    InputError
        If the two are not of one length.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise InputError(f"a paired comparison needs the same samples, got {x.size} and {y.size}")
    return mean_interval(y - x, resamples=resamples, seed=seed)
