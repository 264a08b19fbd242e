"""Mistakes that no overlap shows, each sample by sample, so that two evaluations can be compared on them in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from medreasoner_monai.evaluation.bootstrap import Estimate, paired_difference
from medreasoner_monai.evaluation.presence import false_negatives, false_positives
from medreasoner_monai.evaluation.records import Record, clusters
from medreasoner_monai.evaluation.sides import crossings

MISTAKES: Mapping[str, Callable[[Sequence[Record]], dict[str, bool]]] = {
    "false_positive_rate": false_positives,
    "false_negative_rate": false_negatives,
    "left_right_confusion": crossings,
}
"""By the name of their rate; each says by sample id whether it was made, for the samples on which it can be."""


def paired_clusters(a: Sequence[Record], b: Sequence[Record]) -> dict[str, str]:
    """The group of each sample by its id, from whichever of two evaluations of the same samples knows it."""
    known = {r.id: g for r, g in zip(a, clusters(a), strict=True)}
    return known | {r.id: g for r, g in zip(b, clusters(b), strict=True) if r.group}


def compare_mistakes(a: Sequence[Record], b: Sequence[Record], *, resamples: int = 2000) -> dict[str, Estimate]:
    """Rates of ``b`` less those of ``a``, paired over the samples on which both could make the mistake.

    A rate without such samples is left out.
    """
    found = {}
    groups = paired_clusters(a, b)
    for name, made in MISTAKES.items():
        first, second = made(a), made(b)
        ids = sorted(first.keys() & second.keys())
        if ids:
            found[name] = paired_difference(
                [first[i] for i in ids], [second[i] for i in ids], [groups[i] for i in ids], resamples=resamples
            )
    return found
