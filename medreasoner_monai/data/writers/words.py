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

from medreasoner_monai.data.writers.worlds import TISSUE, WORLDS
from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.files import object_digest
from medreasoner_monai.task.taxonomy import resolve
from medreasoner_monai.task.taxonomy_file import read as read_yaml

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
    of the liver, then alone, then without ``left`` or ``right``, then by what the taxonomy calls it.

    >>> words, side = words_of("left kidney", "abdomen")
    >>> words.key, side
    ('kidney', 'left')
    >>> words_of("tumor", "breast")[0].key
    'breast tumor'
    """
    known = load_words()
    if found := _known(known, name, site):
        return found
    concept = resolve(name, site=site)
    return None if concept is None else _known(known, concept.name, "")


def _known(known: Mapping[str, Words], name: str, site: str) -> tuple[Words, str] | None:
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
    """All concepts with words of their own."""
    return read_words(_FOLDER)


def read_words(folder: Path) -> Mapping[str, Words]:
    """The concepts of a folder of files, by name.

    Raises
    ------
    ConfigError
        If a file is not as docs/questions.md says; the file and the concept are named.
    """
    made: dict[str, Words] = {}
    same: dict[str, tuple[str, str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        worlds, concepts = _content(path)
        for key, entry in concepts.items():
            where = f"{path.name}, {key}"
            if key in made or key in same:
                raise ConfigError(f"{where}: the concept is described twice; keep one entry")
            if not isinstance(entry, dict):
                raise ConfigError(f"{where}: expected noun and does, or same, found {entry!r:.40}")
            if "same" not in entry:
                made[key] = _words(key, entry, worlds, where)
            elif len(entry) > 1:
                raise ConfigError(
                    f"{where}: same stands alone; {', '.join(sorted(set(entry) - {'same'}))} would be lost"
                )
            else:
                same[key] = (str(entry["same"]), where)
    for other, where in same.values():
        if other in same:
            raise ConfigError(f"{where}: {other!r} is itself the same as another; name the one that has words")
        if other not in made:
            raise ConfigError(f"{where}: no concept {other!r} that it could be the same as.{nearest(other, made)}")
    return made | {key: made[other] for key, (other, _) in same.items()}


@cache
def words_digest() -> str:
    """sha256 over the files."""
    return object_digest([[p.name, p.read_text(encoding="utf-8")] for p in sorted(_FOLDER.glob("*.yaml"))])


def _content(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Where a file's concepts may be seen, and the concepts."""
    read = read_yaml(path)
    if read.problems:
        problem = read.problems[0]
        raise ConfigError(f"{path.name}, line {problem.line}: {problem.what}")
    concepts, worlds = read.content.get("concepts"), read.content.get("worlds")
    if not isinstance(concepts, dict):
        raise ConfigError(f"{path.name}: expected worlds and concepts, found {', '.join(map(str, read.content))}")
    return _texts(worlds, "worlds", path.name), concepts


def _texts(found: object, what: str, where: str) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(text, str) and text for text in found):
        raise ConfigError(f"{where}: {what} is a list of texts, found {found!r:.60}")
    return found


def _words(key: str, entry: Mapping[str, Any], worlds: list[str], where: str) -> Words:
    if unknown := set(entry) - _KEYS:
        raise ConfigError(f"{where}: unknown {', '.join(sorted(unknown))}; known are {', '.join(sorted(_KEYS))}")
    nouns, hints, asks = (_texts(entry.get(what, []), what, where) for what in ("noun", "does", "asks"))
    if len(hints) < _MIN_HINTS or not nouns:
        raise ConfigError(f"{where}: needs a noun and at least {_MIN_HINTS} hints under does, found {len(hints)}")
    for text in (*nouns, *hints, *asks):
        if set("[|]") & set(_NUMBERS.sub("", text)):
            raise ConfigError(f"{where}: {text!r} should hold its two numbers as [one|several]")
    number = entry.get("number", "one")
    if number not in ("one", "many", "parts"):
        raise ConfigError(f"{where}: number is one, many or parts, found {number!r}")
    seen = _texts(entry.get("worlds", worlds), "worlds", where)
    if unknown := {world for world in seen if world not in WORLDS and not world.endswith(f" {TISSUE}")}:
        raise ConfigError(f"{where}: unknown world {', '.join(sorted(unknown))}; known are {', '.join(sorted(WORLDS))}")
    return Words(key, tuple(nouns), tuple(hints), tuple(asks), number, frozenset(seen))
