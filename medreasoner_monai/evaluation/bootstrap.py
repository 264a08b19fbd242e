"""Cluster bootstrap intervals, of a mean, a paired difference and any weighted statistic.

Samples of one patient are alike, so whole groups are resampled (Davison & Hinkley 1997, section 3.8): questions drawn
one by one would count two questions about one picture as two patients and give intervals that are too narrow. The
percentiles are widened for few groups (the expanded percentile interval, Hesterberg, The American Statistician 2015).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medreasoner_monai.errors import InputError

Array = NDArray[np.float64]
_CELLS = 4_000_000  # draws held at a time, so that memory does not grow with the samples


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95 % interval, over ``n`` samples of ``groups`` patients."""

    mean: float
    low: float
    high: float
    n: int
    groups: int

    def as_dict(self) -> dict[str, float]:
        """JSON-able, rounded to five decimals."""
        return {k: round(v, 5) if isinstance(v, float) else v for k, v in asdict(self).items()}


def cluster_index(groups: Sequence[Hashable] | None, size: int) -> tuple[NDArray[np.int64], int]:
    """Number of each sample's group, ``(N,)`` from 0 in order of appearance, and how many groups there are.

    Without ``groups`` each sample is a group of its own. So it is where all are of one group: the interval then speaks
    of that patient alone, since nothing is known of others.

    Raises
    ------
    InputError
        If there is not one group per sample.
    """
    if groups is None:
        return np.arange(size), size
    if len(groups) != size:
        raise InputError(f"clustered intervals need one group per sample, got {len(groups)} groups for {size} samples")
    seen: dict[Hashable, int] = {}
    index = np.array([seen.setdefault(g, len(seen)) for g in groups], dtype=np.int64)
    return (index, len(seen)) if len(seen) > 1 else (np.arange(size), size)


def mean_interval(
    values: ArrayLike, groups: Sequence[Hashable] | None = None, *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of ``(N,)`` values and its 95 % interval.

    Parameters
    ----------
    groups:
        The patient of each value; without it each value is its own.

    Raises
    ------
    InputError
        If there are no values, or not one group per value.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.size == 0:
        raise InputError("no samples to average; check the split and the filters")
    index, count = cluster_index(groups, v.size)
    sums, sizes = np.bincount(index, v, count), np.bincount(index, minlength=count).astype(float)
    # How often each group is drawn turns resamples into two matrix products; the mean is a ratio, as sizes vary.
    means = np.concatenate([(w @ sums) / (w @ sizes) for w in _draws(count, resamples, seed)])
    low, high = percentiles(means, count)
    return Estimate(float(v.mean()), low, high, int(v.size), _known(groups, v.size))


def paired_difference(
    a: ArrayLike, b: ArrayLike, groups: Sequence[Hashable] | None = None, *, resamples: int = 2000, seed: int = 0
) -> Estimate:
    """The mean of ``b - a`` over the same samples ``(N,)`` and its 95 % interval.

    Raises
    ------
    InputError
        If the two are not of one length.
    """
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise InputError(f"a paired comparison needs the same samples, got {x.size} and {y.size}")
    return mean_interval(y - x, groups, resamples=resamples, seed=seed)


def statistic_interval(
    statistic: Callable[[Array], float],
    size: int,
    groups: Sequence[Hashable] | None = None,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Estimate:
    """A statistic of ``size`` samples and its 95 % interval.

    Parameters
    ----------
    statistic:
        Takes weights ``(N,)``: how often each sample was drawn. Weights of 1 give the estimate itself.

    Raises
    ------
    InputError
        If there are no samples, or not one group per sample.
    """
    if size == 0:
        raise InputError("no samples to measure; check the split and the filters")
    index, count = cluster_index(groups, size)
    drawn = [statistic(row[index]) for block in _draws(count, resamples, seed) for row in block]
    low, high = percentiles(np.array(drawn), count)
    return Estimate(float(statistic(np.ones(size))), low, high, size, _known(groups, size))


def percentiles(drawn: Array, groups: int) -> tuple[float, float]:
    """The ends of a 95 % interval from a bootstrap distribution of means over ``groups`` groups.

    With few groups the plain 2.5 and 97.5 percentiles are too narrow, by the variance's ``n - 1`` and by the normal
    quantile in place of Student's; the percentiles taken are those that make up for both.
    """
    from scipy.stats import norm, t

    if groups < 2:
        return float(drawn.min()), float(drawn.max())
    tail = 100 * float(norm.cdf(-math.sqrt(groups / (groups - 1)) * t.ppf(0.975, groups - 1)))
    low, high = np.percentile(drawn, [tail, 100 - tail])
    return float(low), float(high)


def _known(groups: Sequence[Hashable] | None, size: int) -> int:
    return size if groups is None else len(set(groups))


def _draws(count: int, resamples: int, seed: int) -> Iterator[Array]:
    """How often each of ``count`` groups is drawn, ``(R, count)`` a block; all blocks have ``resamples`` rows."""
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // count)
    for first in range(0, resamples, step):
        rows = min(step, resamples - first)
        yield rng.multinomial(count, np.full(count, 1 / count), size=rows).astype(np.float64)
