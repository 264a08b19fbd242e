"""A mapping file: which mask belongs to which picture, and what it shows; CSV, or YAML with the same keys."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from medreasoner_monai.errors import InputError

COLUMNS = ("image", "mask", "target", "value", "values", "patient", "modality", "site", "spacing", "licence")
_COLOUR = re.compile(r"#([0-9a-fA-F]{6})")


@dataclass(frozen=True)
class Row:
    """One mask of a picture.

    Attributes
    ----------
    where:
        File and line, or number of the entry, for people.
    image, mask:
        Paths within the source's folder; no mask where the picture is known to show nothing.
    targets:
        Names by the value they have in the mask; value None for whatever is above 0.
    patient, modality, site, licence:
        Empty where unstated.
    spacing:
        Millimetres from row to row and from column to column.
    """

    where: str
    image: str
    mask: str
    targets: Mapping[int | None, str]
    patient: str = ""
    modality: str = ""
    site: str = ""
    licence: str = ""
    spacing: tuple[float, float] | None = None


def read_mapping(path: Path) -> list[Row]:
    """The rows of a mapping file, in order.

    Raises
    ------
    InputError
        If it cannot be read, has an unknown column, or a row lacks what it needs; the line is named.
    """
    try:
        entries = list(_yaml(path) if path.suffix.lower() in (".yaml", ".yml") else _csv(path))
    except (OSError, UnicodeDecodeError, csv.Error, yaml.YAMLError) as error:
        raise InputError(f"the mapping {path} cannot be read ({type(error).__name__}: {error})") from None
    if not entries:
        raise InputError(f"the mapping {path} has no rows")
    return [_row(where, entry) for where, entry in entries]


def _csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        for name in reader.fieldnames or ():
            if name not in COLUMNS or name == "values":
                raise InputError(f"{path}: unknown column {name!r}; known are {', '.join(COLUMNS)} (values: YAML only)")
        for row in reader:
            yield f"{path.name} line {reader.line_num}", {k: v.strip() for k, v in row.items() if k and v and v.strip()}


def _yaml(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: a list of entries with image, mask and target was expected")
    for number, entry in enumerate(entries, 1):
        for name in entry:
            if name not in COLUMNS:
                raise InputError(f"{path} entry {number}: unknown key {name!r}; known are {', '.join(COLUMNS)}")
        yield f"{path.name} entry {number}", {k: v for k, v in entry.items() if v is not None}


def _row(where: str, entry: Mapping[str, Any]) -> Row:
    image, mask = str(entry.get("image", "")), str(entry.get("mask", ""))
    if not image:
        raise InputError(f"{where}: no image")
    return Row(
        where,
        image,
        mask,
        _targets(where, entry, mask),
        **{key: str(entry.get(key, "")) for key in ("patient", "modality", "site", "licence")},
        spacing=_spacing(where, entry.get("spacing")),
    )


def _targets(where: str, entry: Mapping[str, Any], mask: str) -> dict[int | None, str]:
    target, values = entry.get("target"), entry.get("values")
    if not mask:
        if target or values:
            raise InputError(f"{where}: a target without a mask; leave both empty for a picture without targets")
        return {}
    if (target is None) == (values is None):
        raise InputError(f"{where}: a mask has either a target or values with their names")
    if values is None:
        value = None if entry.get("value") in (None, "") else _value(where, entry["value"])
        return {value: _name(target)}
    if not isinstance(values, Mapping) or not values:
        raise InputError(f"{where}: values are names by value, such as {{1: liver, '#ff0000': spleen}}")
    return {_value(where, value): _name(name) for value, name in values.items()}


def _name(text: Any) -> str:
    return " ".join(str(text).replace("_", " ").replace("+", " ").lower().split())


def _value(where: str, text: Any) -> int:
    """A label value; of a colour what :func:`~medreasoner_monai.data.pictures.read_labels` makes of it."""
    if match := _COLOUR.fullmatch(str(text)):
        return int(match[1], 16)
    try:
        value = int(str(text))
    except ValueError:
        value = 0
    if value <= 0:
        raise InputError(f"{where}: a value is a whole number above 0 or a colour such as #ff0000, found {text!r}")
    return value


def _spacing(where: str, given: Any) -> tuple[float, float] | None:
    if given in (None, ""):
        return None
    parts = given if isinstance(given, list) else re.split(r"\s*[x×]\s*", str(given))
    try:
        numbers = [float(p) for p in parts]
    except (TypeError, ValueError):
        numbers = []
    if len(numbers) not in (1, 2) or not all(0 < n < float("inf") for n in numbers):
        raise InputError(f"{where}: spacing is millimetres between rows x columns, such as 0.5 x 0.5, found {given!r}")
    return numbers[0], numbers[-1]
