"""Digests of files and values, JSON written atomically, and the versions of the packages that decide a result."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

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


def object_digest(value: Any) -> str:
    """sha256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_json(path: Path, value: Any) -> None:
    """Write JSON beside its final name and rename it, so that no reader meets half of it."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
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
