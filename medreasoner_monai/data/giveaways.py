"""Beginnings of words that name a target, so that a question which holds one is not implicit."""

from __future__ import annotations

import re
from functools import lru_cache

from medreasoner_monai.task.taxonomy import TAXONOMY, generation, resolve

_COMMON = frozenset(
    (
        *("left", "right", "upper", "lower", "whole", "high", "grade", "part", "zone", "area", "region", "finding"),
        *("structure", "other", "normal", "large", "small", "with", "single", "multiple", "common", "central", "line"),
        *("anterior", "posterior", "superior", "inferior", "medial", "lateral"),
    )
)
"""Words of names that give nothing away by themselves."""


def named_in(text: str, name: str) -> str:
    """The first giveaway of a target in a text; empty where there is none.

    >>> named_in("Which hepatic change is seen?", "liver")
    'hepat'
    >>> named_in("Which organ on the patient's left makes urine?", "left kidney")
    ''
    """
    lower = text.lower()
    words = re.findall(r"[a-z0-9][a-z0-9'-]*", lower)
    for giveaway in giveaways(name):
        if giveaway in lower if " " in giveaway else any(word.startswith(giveaway) for word in words):
            return giveaway
    return ""


def giveaways(name: str) -> tuple[str, ...]:
    """Lower-case beginnings of words, and whole phrases: the taxonomy's, synonyms, and the words of the name itself."""
    return _giveaways(name, generation())


@lru_cache(maxsize=4096)
def _giveaways(name: str, _taxonomy: int) -> tuple[str, ...]:
    known = TAXONOMY.get(name) or resolve(name)
    found = [*known.giveaways, *known.synonyms] if known else []
    for spelling in (name, known.name if known else ""):
        words = re.findall(r"[a-z0-9]+", spelling.lower())
        found += [_stem(word) for word in words if len(word) > 3 and word not in _COMMON]
    return tuple(dict.fromkeys(found))


def _stem(word: str) -> str:
    """A word without the ending that plural and adjective change; at least four letters."""
    for ending in ("ae", "es", "s", "a", "um", "us", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word.removesuffix(ending)
    return word
