"""Reading level of a text, by the Flesch-Kincaid grade (Kincaid et al. 1975, Navy research branch report 8-75)."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_SILENT = re.compile(
    r"(?<=[^aeiouy])(?<![bcdfgkpstz]l)"  # not muscle, settled
    r"(?:e|(?<![sxzcg])(?<!ch)(?<!sh)es|(?<![td])ed)$"  # not causes, bulges, reaches, counted
)
_VOWELS = re.compile(r"[aeiouy]+")


def grade(text: str) -> float:
    """0.39 words per sentence + 11.8 syllables per word - 15.59; 0 for a text without words.

    >>> round(grade("Which organ makes urine?"), 1)
    3.7
    """
    words = _WORD.findall(text)
    if not words:
        return 0.0
    sentences = max(1, len(re.findall(r"[.!?]+(?:\s|$)", text)))
    return 0.39 * len(words) / sentences + 11.8 * sum(syllables(w) for w in words) / len(words) - 15.59


def syllables(word: str) -> int:
    """Groups of vowels, without the silent e of *bile*, *makes* and *filled*; at least one.

    Two vowels side by side count as one, although some are spoken apart (*diaphragm*).

    >>> [syllables(w) for w in ("urine", "bile", "makes", "filled", "carried", "oxygenated", "the", "muscle")]
    [2, 1, 1, 1, 2, 5, 1, 2]
    """
    lower = word.lower()
    count = len(_VOWELS.findall(lower))
    return max(1, count - bool(_SILENT.search(lower)))
