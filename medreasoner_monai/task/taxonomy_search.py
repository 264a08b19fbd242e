"""Concepts that a text may mean: by name, synonym, code or a source's label, with spelling mistakes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from medreasoner_monai.task.taxonomy_model import Category
from medreasoner_monai.task.taxonomy_names import folded

_NEAR = 0.72
"""Least similarity of a misspelt word (``difflib``'s ratio): ``hipocampus`` has 0.95."""


def search(text: str, categories: Iterable[Category], limit: int = 8) -> list[Category]:
    """The concepts that fit a text, the best first: those named so, those that hold its words, those spelt alike.

    Parameters
    ----------
    text : str
        A name or a part of one, a code, an identifier of UMLS or RadLex, or a source's label.

    Examples
    --------
    >>> from medreasoner_monai.task.taxonomy import TAXONOMY
    >>> search("hepatic tumour", TAXONOMY.values())[0].name
    'liver tumor'
    >>> search("hipocampus", TAXONOMY.values())[0].name
    'hippocampus'
    """
    wanted = folded(text)
    scored = [(score, number, one) for number, one in enumerate(categories) if (score := _score(wanted, one)) > 0]
    return [one for _, _, one in sorted(scored, key=lambda s: (-s[0], s[1]))[:limit]]


def _score(wanted: str, one: Category) -> float:
    spellings = [folded(s) for s in (one.name, *one.synonyms, *(s for _, spelt in one.labels for s in spelt))]
    codes = (one.codes.property_type.value, one.codes.region.value if one.codes.region else "", one.umls, one.radlex)
    if not wanted:
        return 0.0
    if wanted == folded(one.name):
        return 5.0
    if wanted in spellings:
        return 4.0
    if wanted in [code.lower() for code in codes]:
        return 3.5
    words = set(wanted.split())
    best = 0.0
    for spelling in spellings:
        if words <= set(spelling.split()):
            best = max(best, 3.0 - len(spelling) / 1000)
        elif wanted in spelling:
            best = max(best, 2.0 - len(spelling) / 1000)
        elif (near := difflib.SequenceMatcher(None, wanted, spelling).ratio()) >= _NEAR:
            best = max(best, near)
    return best
