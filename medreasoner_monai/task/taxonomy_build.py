"""Concepts made of a taxonomy file's entries: codes resolved, families and sides spelled out, everything checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from medreasoner_monai.errors import nearest
from medreasoner_monai.task.taxonomy_codes import code_of
from medreasoner_monai.task.taxonomy_file import Document, Entry, Problem, entries, layered
from medreasoner_monai.task.taxonomy_model import GENERIC, KINDS, LEFT, LESION, RIGHT, Category, Code, Codes
from medreasoner_monai.task.taxonomy_names import folded

_SIDES: tuple[tuple[Literal["left", "right"], Code], ...] = (("left", LEFT), ("right", RIGHT))


@dataclass(frozen=True)
class Built:
    """What one or more layered files say.

    Attributes
    ----------
    categories : dict of str to Category
        By name, in the order of the files; the two sides of a pair follow what they are sides of.
    super_categories, lesion_words : tuple of str
        As the files list them.
    modalities, sites : dict of str to str
        The name of a modality or site, by each folded word that sources use for it.
    problems : tuple of Problem
        Mistakes; an entry with one is left out.
    """

    categories: dict[str, Category]
    super_categories: tuple[str, ...]
    lesion_words: tuple[str, ...]
    modalities: dict[str, str]
    sites: dict[str, str]
    problems: tuple[Problem, ...]


def build(documents: Iterable[Document]) -> Built:
    """Lay files over each other, the later over the earlier, and make concepts of them."""
    raw: dict[str, dict[str, Any]] = {}
    said: dict[str, Document] = {}
    supers: list[str] = []
    lesions: list[str] = []
    words: dict[str, dict[str, str]] = {"modalities": {}, "sites": {}}
    problems: list[Problem] = []
    for document in documents:
        good, wrong = entries(document)
        problems += wrong
        for name, given in good.items():
            raw[name] = layered(raw[name], given) if name in raw else given
            said[name] = document
        supers += _texts(document, "super_categories", problems)
        lesions += _texts(document, "lesion_words", problems)
        for section, known in words.items():
            known.update(_words(document, section, problems))
    vocabulary = _Vocabulary(tuple(dict.fromkeys(supers)), words["modalities"], words["sites"])
    family = _Family(raw)
    categories: dict[str, Category] = {}
    for name, one in raw.items():
        entry = Entry.model_validate(one)
        mistakes = [said[name].problem(what, "concepts", name, *at) for what, *at in vocabulary.mistakes(name, entry)]
        mistakes += [said[name].problem(what, "concepts", name, *at) for what, *at in family.mistakes(name, entry)]
        problems += mistakes
        if not mistakes:
            # A member of a family that has an entry of its own, too, is what that entry says.
            categories.update((c.name, c) for c in family.members(name, entry) if c.name == name or c.name not in raw)
    problems += _shared(categories, said)
    return Built(
        categories,
        vocabulary.supers,
        tuple(dict.fromkeys(lesions)),
        {folded(word): name for word, name in words["modalities"].items()},
        {folded(word): name for word, name in words["sites"].items()},
        tuple(sorted(problems, key=lambda p: (str(p.path), p.line))),
    )


@dataclass(frozen=True)
class _Vocabulary:
    """The words that entries may use."""

    supers: tuple[str, ...]
    modalities: Mapping[str, str]
    sites: Mapping[str, str]

    def mistakes(self, name: str, entry: Entry) -> Iterator[tuple[Any, ...]]:
        if entry.super_category is None:
            yield (f"{name}: super is missing; one of {', '.join(self.supers)}",)
        elif entry.super_category not in self.supers:
            yield (
                f"{name}: unknown super {entry.super_category!r}.{nearest(entry.super_category, self.supers)}",
                "super",
            )
        for field, given, known in (
            ("modalities", entry.modalities, set(self.modalities.values())),
            ("sites", entry.sites, set(self.sites.values())),
        ):
            for number, word in enumerate(given):
                if word not in known:
                    yield f"{name}: unknown word {word!r} in {field}.{nearest(word, known)}", field, number
        for field, words in (("giveaways", entry.giveaways), ("synonyms", entry.synonyms)):
            for number, word in enumerate(words):
                if word != word.lower() or len(word.strip()) < 2:
                    yield f"{name}: {word!r} in {field} is to be lower case, of two letters or more", field, number


class _Family:
    """Entries, by whose names others are placed."""

    def __init__(self, raw: Mapping[str, Mapping[str, Any]]) -> None:
        self._codes = {name: one.get("code") for name, one in raw.items()}

    def mistakes(self, name: str, entry: Entry) -> Iterator[tuple[Any, ...]]:
        for field, text in (("code", entry.code), *(("each", code) for code in entry.each.values())):
            if text is not None and isinstance(code := code_of(text), str):
                yield f"{name}: {code}", field
        if entry.region is not None and isinstance(self._region(entry.region), str):
            yield f"{name}: {self._region(entry.region)}", "in"
        if ("{}" in name) != bool(entry.each):
            yield f"{name}: a family has {{}} in its name, and each with its members", "each"
        if entry.each and entry.code is not None:
            yield f"{name}: a family's codes stand in each", "code"
        if entry.kind == "region" and entry.code is not None:
            yield f"{name}: a region has no code of its own; leave out code, or kind", "code"

    def _region(self, text: str) -> Code | str:
        """The code of the anatomic region, or what is wrong with it."""
        if "|" in text:
            return code_of(text)
        if text not in self._codes:
            return f"in: there is no concept {text!r}.{nearest(text, self._codes)}"
        code = self._codes[text]
        return f"in: {text!r} has no code to place others by" if code is None else code_of(code)

    def members(self, name: str, entry: Entry) -> Iterator[Category]:
        """The concepts of an entry: itself, or each of its family, and their sides."""
        codes: dict[str, str | None] = {**entry.each} or {"": entry.code}
        for key, text in codes.items():
            member = self._member(name.replace("{}", key), key, text, entry)
            yield member
            if entry.sides:
                yield from (_sided(member, side, code, key, entry) for side, code in _SIDES)

    def _member(self, name: str, key: str, text: str | None, entry: Entry) -> Category:
        category = KINDS[entry.kind]
        region = None if entry.region is None else _certain(self._region(entry.region))
        if text is not None:
            codes = Codes(name, category, _certain(code_of(text)), region)
        elif entry.kind == "finding":
            codes = Codes(name, category, LESION, region)
        else:
            codes = Codes(name, GENERIC.property_category, GENERIC.property_type, region)
        words = tuple(word for word in re.findall(r"[a-z]{4,}", name) if word not in ("left", "right", "with"))
        return Category(
            name=name,
            super_category=entry.super_category or "",
            modalities=entry.modalities,
            sites=entry.sites,
            codes=codes,
            giveaways=tuple(g.replace("{}", key) for g in entry.giveaways) or words,
            synonyms=tuple(s.replace("{}", key) for s in entry.synonyms),
            sides=entry.sides,
            many_parts=entry.parts == "many",
            # "The kidney" says too little where there are two.
            in_text=entry.in_text and not (entry.sides and entry.kind != "finding"),
            labels=_labels(entry, key, None),
            umls=entry.umls,
            radlex=entry.radlex,
        )


def _sided(member: Category, side: Literal["left", "right"], code: Code, key: str, entry: Entry) -> Category:
    name = f"{side} {member.name}"
    codes = Codes(name, member.codes.property_category, member.codes.property_type, member.codes.region, code)
    return Category(
        name=name,
        super_category=member.super_category,
        modalities=member.modalities,
        sites=member.sites,
        codes=codes,
        giveaways=member.giveaways,
        synonyms=tuple(f"{side} {synonym}" for synonym in member.synonyms),
        side=side,
        many_parts=member.many_parts,
        in_text=entry.in_text,
        labels=_labels(entry, key, side),
    )


def _labels(entry: Entry, key: str, side: str | None) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A source's spellings: those with ``{side}`` are of the sides, the others of what they are sides of."""
    found = []
    for source, spellings in entry.labels.items():
        of_it = [s for s in spellings if ("{side}" in s) == (side is not None)]
        if of_it:
            found.append((source, tuple(s.replace("{}", key).replace("{side}", side or "") for s in of_it)))
    return tuple(found)


def _certain(code: Code | str) -> Code:
    assert isinstance(code, Code), code
    return code


def _texts(document: Document, section: str, problems: list[Problem]) -> list[str]:
    given = document.content.get(section) or []
    if isinstance(given, list) and all(isinstance(word, str) for word in given):
        return given
    problems.append(document.problem(f"{section} is a list of words", section))
    return []


def _words(document: Document, section: str, problems: list[Problem]) -> dict[str, str]:
    given = document.content.get(section) or {}
    found: dict[str, str] = {}
    if not isinstance(given, dict):
        problems.append(document.problem(f"{section} is a mapping from names to lists of other words", section))
        return found
    for name, others in given.items():
        if not isinstance(others, list) or not all(isinstance(word, str) for word in others):
            problems.append(document.problem(f"{section}: {name} has a list of words, which may be []", section, name))
            continue
        found.update(dict.fromkeys([str(name), *others], str(name)))
    return found


def _shared(categories: Mapping[str, Category], said: Mapping[str, Document]) -> Iterator[Problem]:
    """Spellings that two concepts claim."""
    owner: dict[str, str] = {}
    for one in categories.values():
        for spelling in dict.fromkeys(folded(s) for s in (one.name, *one.synonyms)):
            other = owner.setdefault(spelling, one.name)
            if other != one.name:
                base = one.name.removeprefix("left ").removeprefix("right ")
                name = next((n for n in (one.name, base) if n in said), next(iter(said)))
                what = f"{one.name}: {spelling!r} is already a name of {other!r}; take it out of one of them"
                yield said[name].problem(what, "concepts", name, "synonyms")
