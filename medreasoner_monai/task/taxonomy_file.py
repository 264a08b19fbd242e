"""Read a taxonomy file: YAML with the line of every mistake."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict, Field, StrictStr, ValidationError

from medreasoner_monai.errors import nearest

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
SECTIONS = ("version", "super_categories", "modalities", "sites", "lesion_words", "concepts")
VERSION = 1


class Problem(NamedTuple):
    """A mistake in a file, and where it stands."""

    path: Path
    line: int
    what: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line}: {self.what}"


class Entry(BaseModel):
    """One entry of ``concepts``, as it stands in the file; the file's head says what each field means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    super_category: StrictStr | None = Field(None, alias="super")
    kind: Literal["organ", "finding", "tissue", "fluid", "device", "region"] = "organ"
    code: StrictStr | None = None
    region: StrictStr | None = Field(None, alias="in")
    modalities: tuple[StrictStr, ...] = ()
    sites: tuple[StrictStr, ...] = ()
    sides: bool = False
    parts: Literal["one", "many"] = "one"
    giveaways: tuple[StrictStr, ...] = ()
    synonyms: tuple[StrictStr, ...] = ()
    in_text: bool = True
    labels: dict[StrictStr, tuple[StrictStr, ...]] = Field(default_factory=dict)
    each: dict[StrictStr, StrictStr] = Field(default_factory=dict)
    umls: StrictStr = Field("", pattern=r"^(C\d{7})?$")
    radlex: StrictStr = Field("", pattern=r"^(RID\d+)?$")


FIELDS = tuple(f.alias or name for name, f in Entry.model_fields.items())
_ADDED = ("modalities", "sites", "giveaways", "synonyms")


@dataclass
class Document:
    """A file's content, and the lines on which its keys stand.

    Attributes
    ----------
    content : dict
        As YAML reads it; empty where it cannot be read.
    problems : list of Problem
        What is wrong with the YAML itself.
    """

    path: Path
    content: dict[str, Any]
    problems: list[Problem]
    _root: yaml.Node | None = field(default=None, repr=False)

    def line(self, *keys: object) -> int:
        """The line (from 1) of a key, or of the nearest one above it that is there."""
        node, line = self._root, 1
        for key in keys:
            if isinstance(node, yaml.MappingNode):
                found = next((pair for pair in node.value if pair[0].value == str(key)), None)
                if found is None:
                    return line
                line, node = found[0].start_mark.line + 1, found[1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
                line = node.start_mark.line + 1
        return line

    def problem(self, what: str, *keys: object) -> Problem:
        """A mistake at a key."""
        return Problem(self.path, self.line(*keys), what)


def read(path: Path) -> Document:
    """Read a file; mistakes in the YAML itself become its problems.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    document = Document(path, {}, [])
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            document._root = root
            document.problems += [Problem(path, *twice) for twice in _twice(root)]
            content = loader.construct_document(root) if root is not None else {}
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        what = f"not YAML: {getattr(error, 'problem', None) or error}"
        document.problems.append(Problem(path, mark.line + 1 if mark else 1, what))
        return document
    if isinstance(content, dict):
        document.content = content
    else:
        document.problems.append(Problem(path, 1, f"a mapping with {', '.join(SECTIONS)} is expected"))
    return document


def _twice(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    """Keys that stand twice in one mapping, of which YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                yield key.start_mark.line + 1, f"{key.value!r} stands here a second time; make one of the two"
            seen.add(key.value)
            yield from _twice(value)


def entries(document: Document) -> tuple[dict[str, dict[str, Any]], list[Problem]]:
    """The raw entries of ``concepts`` that are in order by themselves, and what is wrong with the others."""
    problems = [*document.problems]
    problems += [
        document.problem(f"unknown section {section!r}.{nearest(str(section), SECTIONS)}", section)
        for section in document.content
        if section not in SECTIONS
    ]
    if (version := document.content.get("version", VERSION)) != VERSION:
        problems.append(document.problem(f"version {version!r} is not known; {VERSION} is expected", "version"))
    listed = document.content.get("concepts") or {}
    if not isinstance(listed, dict):
        return {}, [*problems, document.problem("concepts is a mapping from names to entries", "concepts")]
    good: dict[str, dict[str, Any]] = {}
    for name, raw in listed.items():
        found = [*_named(document, name), *_fields(document, name, raw)]
        problems += found
        if not found:
            good[name] = raw
    return good, problems


def _named(document: Document, name: object) -> Iterator[Problem]:
    if not isinstance(name, str):
        yield document.problem(f"the name {name!r} is not text; put it in quotes", "concepts", name)
    elif name != " ".join(name.lower().split()) or not re.search(r"\w", name):
        yield document.problem(f"the name {name!r} is to be lower case, with single spaces", "concepts", name)


def _fields(document: Document, name: object, raw: object) -> Iterator[Problem]:
    if not isinstance(raw, dict):
        yield document.problem(f"{name}: fields such as super and code are expected, found {raw!r}", "concepts", name)
        return
    try:
        Entry.model_validate(raw)
    except ValidationError as error:
        for one in error.errors():
            at = [key for key in one["loc"] if key != "[key]"]
            if one["type"] == "extra_forbidden":
                what = f"unknown field {at[-1]!r}.{nearest(str(at[-1]), FIELDS)}"
            else:
                what = f"{'.'.join(map(str, at))}: {one['msg']}, found {one['input']!r}{_hint(at[0], one)}"
            yield document.problem(f"{name}: {what}", "concepts", name, *at)


def _hint(at: object, error: Mapping[str, Any]) -> str:
    if error["type"] == "literal_error":
        return "." + nearest(str(error["input"]), re.findall(r"'(\w+)'", str(error["ctx"]["expected"])))
    if error["type"] == "tuple_type":
        return f"; write a list: [{error['input']}]"
    return "; put it in quotes" if error["type"] == "string_type" and at != "code" else ""


def layered(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with another one laid over it: lists and labels are added, everything else is replaced.

    >>> layered({"super": "Abdomen", "synonyms": ["a"]}, {"synonyms": ["b"], "sides": True})
    {'super': 'Abdomen', 'synonyms': ['a', 'b'], 'sides': True}
    """
    merged = {**base, **over}
    for key in _ADDED:
        if key in base and key in over:
            merged[key] = [*dict.fromkeys([*base[key], *over[key]])]
    if "labels" in base and "labels" in over:
        labels = {source: [*spelled] for source, spelled in base["labels"].items()}
        for source, spelled in over["labels"].items():
            labels[source] = [*dict.fromkeys([*labels.get(source, []), *spelled])]
        merged["labels"] = labels
    return merged
