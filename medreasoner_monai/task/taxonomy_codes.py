"""Codes as a taxonomy file writes them: ``10200004 |Liver|``, the notation of SNOMED CT's own expressions."""

from __future__ import annotations

import re
from functools import cache

from medreasoner_monai.task.taxonomy_model import Code

_CODE = re.compile(r"(?:(?P<scheme>[A-Za-z]+):)?(?P<value>[A-Za-z0-9-]{1,18}) ?\|(?P<meaning>[^|]{1,64})\|")
_SCHEMES = ("SCT", "DCM", "FMA", "UMLS", "RADLEX", "NCIt")


def _d5(i: int, j: int) -> int:
    """The product in the dihedral group of the pentagon: 0-4 are turns, 5-9 are turns after a reflection."""
    if i < 5:
        return (i + j) % 5 if j < 5 else 5 + (i + j - 5) % 5
    return 5 + (i - 5 - j) % 5 if j < 5 else (i - j) % 5


_STEP = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)  # Verhoeff's permutation of the digits, applied once per place


def sctid_is_valid(value: str) -> bool:
    """Whether digits are a SNOMED CT identifier: its last one is a check digit (Verhoeff 1969; SNOMED CT TSG, 6.1).

    >>> sctid_is_valid("10200004"), sctid_is_valid("10200005")
    (True, False)
    """
    if not value.isdecimal() or not 6 <= len(value) <= 18:
        return False
    total = 0
    for position, digit in enumerate(reversed(value)):
        number = int(digit)
        for _ in range(position % 8):
            number = _STEP[number]
        total = _d5(total, number)
    return total == 0


@cache
def code_of(text: str) -> Code | str:
    """The code that a text writes, or what is wrong with it.

    >>> code_of("10200004 |Liver|")
    Code(value='10200004', scheme='SCT', meaning='Liver')
    >>> code_of("DCM:112001 |Opacity|").scheme
    'DCM'
    """
    found = _CODE.fullmatch(text.strip())
    if found is None:
        return f"{text!r} is not a code; write it as 10200004 |Liver| or DCM:112001 |Opacity|"
    scheme = found["scheme"] or "SCT"
    if scheme not in _SCHEMES:
        return f"unknown coding scheme {scheme!r} in {text!r}; one of {', '.join(_SCHEMES)}"
    if scheme == "SCT" and not sctid_is_valid(found["value"]):
        return f"{found['value']} is not a SNOMED CT identifier (its check digit does not fit); look for a typing error"
    return Code(found["value"], scheme, found["meaning"].strip())
