"""Digests of files and values, JSON written atomically, and the versions of the packages that decide a result."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from contextlib import closing, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_RACY_SECONDS = 2.0
_RECORDED = (
    "medreasoner-monai",
    "torch",
    "transformers",
    "trl",
    "deepspeed",
    "peft",
    "monai",
    "pydicom",
    "highdicom",
    "numpy",
)


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def tree_digest(path: Path) -> str:
    """sha256 over the relative names and contents of the files of a folder, or of one file.

    Where it lies and when it was copied make no difference. Contents are remembered: see :func:`remembered_digest`.
    """
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    files = [p for p in files if "__pycache__" not in p.parts]
    start = path if path.is_dir() else path.parent
    return object_digest([[str(p.relative_to(start)), remembered_digest(p)] for p in files])


def object_digest(value: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside its final name and rename it, so that no reader meets half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    temporary.replace(path)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its final name and rename it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def package_versions() -> dict[str, str]:
    """Versions of the packages that decide a result, as far as they are installed."""
    out = {}
    for name in _RECORDED:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            continue
    return out


def remembered_digest(path: Path) -> str:
    """sha256 of a file's bytes, computed once per content as path, size and modification time tell it.

    Digests are kept in a small database in the user's cache folder (``MEDREASONER_CACHE``, else
    ``$XDG_CACHE_HOME/medreasoner``), so that tens of gigabytes of weights are read once and not once per stage. A file
    that was modified within the last two seconds is not remembered: a second change could leave the same time behind.
    Where a digest protects against a changed file (loading weights), use :func:`file_digest`.
    """
    state = path.stat()
    name, stamp = str(path.resolve()), f"{state.st_size}:{state.st_mtime_ns}:{state.st_ino}"
    found = _look_up(name, stamp)
    if found is None:
        found = file_digest(path)
        if time.time() - state.st_mtime > _RACY_SECONDS:
            _keep(name, stamp, found)
    return found


def _database() -> sqlite3.Connection:
    root = os.environ.get("MEDREASONER_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "medreasoner"
    )
    Path(root).mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(Path(root) / "digests.sqlite", timeout=5)
    database.execute("CREATE TABLE IF NOT EXISTS digests (name TEXT PRIMARY KEY, stamp TEXT, digest TEXT)")
    return database


def _look_up(name: str, stamp: str) -> str | None:
    try:
        with closing(_database()) as database:
            row = database.execute("SELECT digest FROM digests WHERE name = ? AND stamp = ?", (name, stamp)).fetchone()
    except (sqlite3.Error, OSError):  # a cache that cannot be read or written costs time, nothing else
        return None
    return None if row is None else str(row[0])


def _keep(name: str, stamp: str, digest: str) -> None:
    with suppress(sqlite3.Error, OSError), closing(_database()) as database, database:
        database.execute("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", (name, stamp, digest))
