r"""Patterns of answers in numbers, and of code: neither depends on the language of a question.

Regular expressions on NFKC-normalised, casefolded text. A point such as ``[30, 40]`` may be asked about, a box may not:
four numbers in square brackets are an answer. "Segments 5, 6, 7 and 8" or "(EF 30, 35, 40, 45)" are not.
"""

from __future__ import annotations

_NUMBER = r"(?<!\d)-?\d{1,4}(?:\.\d{1,4})?"
_FOUR = rf"{_NUMBER}(?:\s*[,;،、]\s*{_NUMBER}){{3}}"

COORDINATES = (
    rf"\[\s*{_FOUR}",
    rf"\[\s*\[\s*{_NUMBER}",
    rf"{_NUMBER}(?:\s*[,;،、]\s*{_NUMBER}){{9}}",
    rf"\b(?:coordinates?|ground truth|(?:bounding )?box|answer)\b[^.?!]{{0,30}}?(?<!\d){_FOUR}",
    rf"\bregion\s*[:=]\s*{_FOUR}",
    rf"\bcoordinates\s+{_NUMBER}(?:\s+{_NUMBER}){{3}}",
    r"\bbbox\b|\b(?:key)?points?_\d\b",
    rf"\b[xy]_?(?:1|2|min|max)\s*[=:]\s*{_NUMBER}|\b[xy]_(?:min|max)\b",
    rf"\bbox\s+(?:starts|begins|ends|lies|is)\s+(?:at|from)\s+{_NUMBER}",
)
CODE = (
    r"```|`[^`]*[/$;|&(][^`]*`|\{\{|\}\}|\{%|\$\(|\$\{|\\[a-z]+\{|\\u00[0-9a-f]{2}|\\x[0-9a-f]{2}",
    r"\bdrop\s+table\b|\bunion\s+(?:all\s+)?select\b|\bselect\s+\*|\bdelete\s+from\s+\w+\s+where\b|;\s*--\s*$|'\s*;?\s*--",
    r"\bselect\s+.{1,40}\s+from\s+\w+\s+where\s+\w+\s*[=<>]|\bor\s+(\d)\s*=\s*\1\b|\binsert\s+into\s+\w+\s+values\b",
    r"\brm\s+-[rf]|\bsudo\s+\w|/etc/\w|\.\./|&&\s*(?:rm|cat|curl|wget|sudo|echo|ls)\b",
    r"\bdef\s+\w+\(|\bimport\s+\w+\s*;|\breturn\s*[\[{\"]|\b(?:eval|exec|print|alert|os\.system|console\.log)\(",
    r"\bhttps?:|\bwww\.|%3[ce]|%5b|&lt;\s*[/!]?\s*[a-z]|&#\d+;|<\s*script",
    r"\brot-?13\b|\bbase-?64\b|\bdecode\s+(?:and|this|the\s+following)\b",
    r"(?<![\w+/])(?=[a-z+/]*\d)(?=[\d+/]*[a-z])[a-z\d+/]{28,}=*",
)
