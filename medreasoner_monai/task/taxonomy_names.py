"""How names are compared: file-name spellings, plurals, British spellings, and sides that stand behind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

_BRITISH = {"tumour": "tumor", "oedema": "edema", "haem": "hem", "oesophag": "esophag", "grey": "gray"}
_ANY_BRITISH = re.compile("|".join(_BRITISH))
_JOINTS = str.maketrans({"-": " ", "/": " ", ",": " ", "'": None, "’": None})
_PLURALS = (("ae", "a"), ("ies", "y"), ("i", "us"), ("ses", "sis"), ("es", ""), ("s", ""))


def plain(name: str) -> str:
    """Lower case, with single spaces; ``+`` and ``_`` count as spaces.

    >>> plain("Left+Kidney"), plain(" left_kidney ")
    ('left kidney', 'left kidney')
    """
    return " ".join(name.replace("+", " ").replace("_", " ").split()).lower()


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """What two spellings of one name have in common: hyphens, apostrophes and British spellings do not count.

    >>> folded("Barrett's oesophagus") == folded("barretts+esophagus")
    True
    """
    return " ".join(_ANY_BRITISH.sub(lambda m: _BRITISH[m[0]], plain(name).translate(_JOINTS)).split())


def variants(name: str) -> Iterator[str]:
    """A folded name as it stands, with its side first, and its last word in the singular and the plural.

    >>> list(variants("kidney_left"))[:2]
    ['kidney left', 'left kidney']
    >>> "vertebra" in variants("vertebrae"), "lateral ventricles" in variants("lateral ventricle")
    (True, True)
    """
    whole = folded(name)
    spellings = [whole]
    words = whole.split()
    if len(words) > 1 and words[-1] in ("left", "right"):
        spellings.append(" ".join([words[-1], *words[:-1]]))
    yield from spellings
    for spelling in spellings:
        for plural, singular in _PLURALS:
            if spelling.endswith(plural) and len(spelling) > len(plural) + 2:
                yield spelling.removesuffix(plural) + singular
        yield f"{spelling}s"
