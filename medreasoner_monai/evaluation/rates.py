"""How often something happens, with an interval that knows that never seen is not never."""

from __future__ import annotations

from collections.abc import Iterable

from medreasoner_monai.evaluation.bootstrap import Estimate


def rate(happened: Iterable[bool]) -> Estimate | None:
    """The share of ``True`` and its 95 % Wilson score interval (Wilson, JASA 1927); None of nothing.

    A bootstrap of samples that are all alike has no width, and rates near 0 are the ones that matter here.

    >>> rate([False] * 50).as_dict()
    {'mean': 0.0, 'low': 0.0, 'high': 0.07135, 'n': 50}
    """
    from scipy.stats import binomtest

    values = list(happened)
    if not values:
        return None
    interval = binomtest(sum(values), len(values)).proportion_ci(method="wilson")
    # Rounding may leave an end of the interval a hair beyond the share itself.
    share = sum(values) / len(values)
    return Estimate(share, min(share, max(0.0, float(interval.low))), max(share, float(interval.high)), len(values))
