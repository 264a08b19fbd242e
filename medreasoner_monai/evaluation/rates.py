"""How often something happens, with an interval that knows that never seen is not never."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

from medreasoner_monai.evaluation.bootstrap import Estimate, cluster_index

_Z = 1.959963984540054  # the normal distribution's 97.5th percentile


def rate(happened: Iterable[bool], groups: Sequence[Hashable] | None = None) -> Estimate | None:
    """The share of ``True`` and its 95 % Wilson score interval (Wilson, JASA 1927); None of nothing.

    A bootstrap of samples that are all alike has no width, and rates near 0 are the ones that matter here. Samples of
    one patient count as fewer: the interval is that of the effective sample size, see :func:`effective_size`.

    >>> rate([False] * 50).as_dict()
    {'mean': 0.0, 'low': 0.0, 'high': 0.07135, 'n': 50, 'groups': 50}
    """
    values = np.array(list(happened), dtype=float)
    if not values.size:
        return None
    share, n = float(values.mean()), effective_size(values, groups)
    middle = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2))
    # Rounding may leave an end of the interval a hair beyond the share itself.
    low, high = min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))
    return Estimate(share, low, high, int(values.size), len(set(groups)) if groups is not None else int(values.size))


def effective_size(values: np.ndarray, groups: Sequence[Hashable] | None = None) -> float:
    """How many independent samples ``(N,)`` zeros and ones of clustered samples are worth.

    The number of samples over the design effect (Dean & Pagano, Survey Methodology 2015), which is the variance of the
    share between groups over that of independent samples. It lies between the number of samples and the size that they
    have if those of a group are copies of each other (Kish): that least one is taken where all values are alike, since
    then nothing says how alike the samples of a group are.

    Raises
    ------
    InputError
        If there is not one group per value.
    """
    index, count = cluster_index(groups, values.size)
    sizes = np.bincount(index, minlength=count).astype(float)
    least = values.size**2 / float((sizes**2).sum())
    share = float(values.mean())
    residuals = np.bincount(index, values - share, count)
    variance = count / max(count - 1, 1) * float((residuals**2).sum()) / values.size**2
    if share in (0.0, 1.0) or variance == 0:
        return least if share in (0.0, 1.0) else float(values.size)
    return float(np.clip(share * (1 - share) / variance, least, values.size))
