"""Reading level of a text, by the Flesch-Kincaid grade (Kincaid et al. 1975, Navy research branch report 8-75)."""

from __future__ import annotations

import re

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_VOWELS = re.compile(r"[aeiouy]+")


def grade(text: str) -> float:
    """0.39 words per sentence + 11.8 syllables per word - 15.59; 0 for a text without words.

    >>> round(grade("Which organ makes urine?"), 1)
    9.6
    """
    words = _WORD.findall(text)
    if not words:
        return 0.0
    sentences = max(1, len(re.findall(r"[.!?]+(?:\s|$)", text)))
    return 0.39 * len(words) / sentences + 11.8 * sum(syllables(w) for w in words) / len(words) - 15.59


def syllables(word: str) -> int:
    """Groups of vowels, without a silent e at the end; at least one.

    >>> [syllables(w) for w in ("urine", "bile", "oxygenated", "the", "muscle")]
    [2, 1, 5, 1, 2]
    """
    lower = word.lower()
    count = len(_VOWELS.findall(lower))
    if lower.endswith("e") and not lower.endswith(("le", "ee")) and count > 1:
        count -= 1
    if lower.endswith("ed") and not lower.endswith(("ted", "ded")) and count > 1:
        count -= 1
    return max(1, count)
