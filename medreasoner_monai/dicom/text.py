"""Text as DICOM's value representations take it (PS3.5 6.2)."""

from __future__ import annotations

import unicodedata

# Control characters, halves of surrogate pairs, separators of lines and paragraphs. Joiners and marks of direction are
# not among them: Persian and emoji need the ones, Arabic and Hebrew the others.
_UNWANTED = {"Cc", "Cs", "Zl", "Zp"}


def short(value: str, limit: int) -> str:
    r"""One line for LO, SH or ST: no control characters, no backslash (it separates values), not too long.

    PS3.5 6.2 counts characters, but some readers count bytes: ``limit`` is kept in bytes of UTF-8, which suits both.

    >>> short("left\\right  lobe", 64)
    'left right lobe'
    """
    folded = " ".join(_clean(value).replace("\\", " ").split())
    if len(folded.encode()) <= limit:
        return folded
    return folded.encode()[: limit - 3].decode(errors="ignore") + "..."


def long(value: str) -> str:
    """Text for UT and LT: line ends are kept, other control characters and lone surrogates become spaces.

    Trailing spaces go: UT says that they may be ignored, so nobody could tell them apart.
    """
    return "\r\n".join(_clean(line) for line in value.splitlines()).rstrip()


def _clean(line: str) -> str:
    return "".join(" " if unicodedata.category(c) in _UNWANTED else c for c in line)
