"""Write a new entry into a taxonomy file of one's own, comments and all else in it untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import yaml

from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import SHIPPED
from medreasoner_monai.task.taxonomy_build import build
from medreasoner_monai.task.taxonomy_file import read

_HEAD = """\
# Concepts of our own, laid over those that medreasoner ships. docs/taxonomy.md says what each field means.
version: 1
concepts:
"""


def add_entry(path: Path, name: str, entry: Mapping[str, Any]) -> None:
    """Append an entry to ``concepts`` of a file, which is made if it is not there. The file is replaced at once.

    Raises
    ------
    InputError
        If the file then had mistakes, or has the name already; it stays as it was.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
    if path.exists() and name in (read(path).content.get("concepts") or {}):
        raise InputError(f"{path} has {name!r} already; edit its entry there")
    lines = text.splitlines()
    if "concepts:" not in lines:
        raise InputError(f"{path} has no line that reads `concepts:`; entries follow below one")
    at, indent = _end(lines, lines.index("concepts:"))
    written = yaml.safe_dump(
        {name: dict(entry)}, sort_keys=False, allow_unicode=True, default_flow_style=None, width=110
    )
    new = [*lines[:at], *(" " * indent + line for line in written.splitlines()), *lines[at:]]
    _replace(path, "\n".join(new) + "\n")


def _end(lines: list[str], start: int) -> tuple[int, int]:
    """Where the section that begins at a line ends, and how far its entries are indented."""
    at, indent = start + 1, 2
    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line.strip() and not line.lstrip().startswith("#"):
            if not line.startswith(" "):
                break
            if at == start + 1:
                indent = len(line) - len(line.lstrip())
            at = number + 1
    return at, indent


def _replace(path: Path, text: str) -> None:
    """Put a text in a file's place if it is in order as a taxonomy."""
    with NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, suffix=".yaml", delete=False) as draft:
        draft.write(text)
    made = Path(draft.name)
    try:
        problems = build([read(SHIPPED), read(made)]).problems
        if problems:
            told = "\n".join(f"line {p.line}: {p.what}" for p in problems)
            raise InputError(f"{path} stays as it is, because with the entry it would have mistakes:\n{told}")
        made.chmod(path.stat().st_mode if path.exists() else 0o644)
        made.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()
