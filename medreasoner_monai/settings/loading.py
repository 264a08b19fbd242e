"""From a config file and overrides to checked settings; every mistake is named at its place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.data import SOURCES


def load_settings(path: Path, overrides: Sequence[str] = ()) -> Settings:
    """Read a config file; ``overrides`` are ``section.key=value`` with YAML values.

    Raises
    ------
    ConfigError
        If the file is missing or not YAML, a key is unknown (the nearest is suggested) or a value out of range.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise ConfigError(f"no config file {path}; those that come with the project are in configs/") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold settings by name, found {type(values).__name__}")
    for override in overrides:
        _apply(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{path}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _apply(values: dict[str, Any], override: str) -> None:
    name, equals, text = override.partition("=")
    if not equals:
        raise ConfigError(f"an override is section.key=value, got {override!r}")
    *parents, last = name.split(".")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{override!r}: what stands behind the equals sign is not YAML") from None
    inside: Any = values
    for parent, following in zip(parents, [*parents[1:], last], strict=True):
        if isinstance(inside, list):
            inside = inside[_index(inside, parent, override)]
        else:
            inside = inside.setdefault(parent, [] if following.isdigit() else {})
        if not isinstance(inside, dict | list):
            raise ConfigError(f"{override!r}: {parent} is a value, not a section")
    if isinstance(inside, list):
        inside[_index(inside, last, override)] = value
    else:
        inside[last] = value


def _index(entries: list[Any], text: str, override: str) -> int:
    """The place in a list that a part of an override names; one behind its end adds an entry."""
    if not text.isdigit() or int(text) > len(entries):
        raise ConfigError(f"{override!r}: {text} is not the number of an entry, of which there are {len(entries)}")
    if int(text) == len(entries):
        entries.append({})
    return int(text)


def _explain(error: Any) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] != "extra_forbidden":
        return f"{where}: {error['msg']} (got {error['input']!r})"
    return f"unknown key {where}.{nearest(str(error['loc'][-1]), _keys_at(error['loc'][:-1]))}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys a section takes, found by walking the models (a union's parts are named by their tag)."""
    model: type[BaseModel] = Settings
    for part in location:
        if part in SOURCES:
            model = SOURCES[str(part)]
        else:
            inner = model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                model = inner
    return list(model.model_fields)
