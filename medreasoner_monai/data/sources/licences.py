"""The licence of a source: as the config states it, else its ``SOURCE.json``, else the file that lies beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.settings.sources import PatientSettings

NOT_STATED = "licence not stated"
_FILES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENSE.md", "COPYING")
_LONG = 80


def licence_of(settings: PatientSettings, folder: Path, about: Mapping[str, Any] | None = None) -> str:
    """What is known of a source's licence; of a licence file its first line, which names it."""
    said = settings.licence or (about or {}).get("licence")
    if said:
        return str(said)
    for name in _FILES:
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue
        if found := [line.strip(" #\t") for line in lines if line.strip(" #\t=")]:
            version = f", {found[1]}" if len(found) > 1 and found[1].startswith("Version") else ""
            return f"{found[0]}{version}"[:_LONG]
    return NOT_STATED
