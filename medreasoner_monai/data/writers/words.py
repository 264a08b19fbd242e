"""How questions speak of a concept without its name: nouns, clinical hints and whole questions from ``words/*.yaml``.

A text may hold both numbers, ``[makes|make] urine``: the first for one structure, the second for several.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import object_digest

_FOLDER = Path(__file__).with_name("words")
_NUMBERS = re.compile(r"\[([^|\[\]]*)\|([^|\[\]]*)\]")
_KEYS = {"noun", "does", "asks", "number", "worlds", "same"}
_MIN_HINTS = 4

Number = Literal["one", "many", "parts"]
"""Whether a concept is spoken of as one thing, as several, or by how many parts the mask has."""


@dataclass(frozen=True)
class Words:
    """The words of one concept.

    Attributes
    ----------
    key:
        The concept's name in the files.
    nouns:
        What it is called in a question: ``organ``, ``growth``.
    hints:
        Relative clauses: ``makes bile and clears drugs from the blood``.
    asks:
        Whole questions.
    number:
        See :data:`Number`.
    worlds:
        Kinds of picture in which it may be seen, see :mod:`~medreasoner_monai.data.writers.worlds`.
    """

    key: str
    nouns: tuple[str, ...]
    hints: tuple[str, ...]
    asks: tuple[str, ...]
    number: Number
    worlds: frozenset[str]


def words_of(name: str, site: str = "") -> tuple[Words, str] | None:
    """The words for a target of a picture of some site, and the side in its name; None where there are none.

    A target is looked up together with its picture's site first, so that a tumor of the breast is not spoken of as one
    of the liver, then alone, then without ``left`` or ``right``.

    >>> words, side = words_of("left kidney", "abdomen")
    >>> words.key, side
    ('kidney', 'left')
    >>> words_of("tumor", "breast")[0].key
    'breast tumor'
    """
    known = load_words()
    plain, side = without_side(name)
    for candidate, found_side in ((f"{site} {name}".lower(), ""), (name, ""), (f"{site} {plain}", side), (plain, side)):
        if candidate in known:
            return known[candidate], found_side
    return None


def without_side(name: str) -> tuple[str, str]:
    """A name without ``left`` or ``right`` at its beginning or end, and that side; empty where there is none.

    >>> without_side("adrenal gland left")
    ('adrenal gland', 'left')
    """
    words = name.split()
    for place, rest in ((0, words[1:]), (-1, words[:-1])):
        if rest and words[place] in ("left", "right"):
            return " ".join(rest), words[place]
    return name, ""


def in_number(text: str, several: bool) -> str:
    """A text in one of its two numbers.

    >>> in_number("organ[|s] that [makes|make] urine", several=True)
    'organs that make urine'
    """
    return _NUMBERS.sub(lambda found: found[2 if several else 1], text)


@cache
def load_words() -> Mapping[str, Words]:
    """All concepts with words of their own.

    Raises
    ------
    ConfigError
        If a file is not as docs/questions.md says.
    """
    made: dict[str, Words] = {}
    same: dict[str, str] = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for key, entry in content["concepts"].items():
            where = f"{path.name}, {key}"
            if key in made or key in same:
                raise ConfigError(f"{where}: the concept is described twice; keep one entry")
            if "same" in entry:
                same[key] = entry["same"]
            else:
                made[key] = _words(key, entry, content["worlds"], where)
    for key, other in same.items():
        if other not in made:
            raise ConfigError(f"{key}: no concept {other!r} that it could be the same as")
        made[key] = made[other]
    return made


@cache
def words_digest() -> str:
    """sha256 over the files."""
    return object_digest([[p.name, p.read_text(encoding="utf-8")] for p in sorted(_FOLDER.glob("*.yaml"))])


def _words(key: str, entry: Mapping[str, Any], worlds: list[str], where: str) -> Words:
    if unknown := set(entry) - _KEYS:
        raise ConfigError(f"{where}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(_KEYS))}")
    hints, nouns = tuple(entry.get("does", ())), tuple(entry.get("noun", ()))
    if len(hints) < _MIN_HINTS or not nouns:
        raise ConfigError(f"{where}: needs a noun and at least {_MIN_HINTS} hints under does, found {len(hints)}")
    number = entry.get("number", "one")
    if number not in ("one", "many", "parts"):
        raise ConfigError(f"{where}: number is one, many or parts, found {number!r}")
    return Words(key, nouns, hints, tuple(entry.get("asks", ())), number, frozenset(entry.get("worlds", worlds)))
