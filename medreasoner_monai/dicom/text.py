"""Text as DICOM's value representations take it (PS3.5 6.2)."""

from __future__ import annotations


def short(value: str, limit: int) -> str:
    r"""One line for LO, SH or ST: no control characters, no backslash (it separates values), not too long.

    PS3.5 6.2 counts characters, but some readers count bytes: ``limit`` is kept in bytes of UTF-8, which suits both.

    >>> short("left\\right  lobe", 64)
    'left right lobe'
    """
    clean = "".join(c if c.isprintable() and c != "\\" else " " for c in value)
    folded = " ".join(clean.split())
    if len(folded.encode()) <= limit:
        return folded
    return folded.encode()[: limit - 3].decode(errors="ignore") + "..."


def long(value: str) -> str:
    """Text for UT and LT: line ends are kept, other control characters and lone surrogates become spaces.

    Trailing spaces go: UT says that they may be ignored, so nobody could tell them apart.
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    clean = "".join(c if c == "\n" or c.isprintable() or c == "\u200d" else " " for c in lines)
    return clean.replace("\n", "\r\n").rstrip()
