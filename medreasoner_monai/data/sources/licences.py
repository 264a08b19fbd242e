"""The licence of a source: as the config states it, else its ``SOURCE.json``, else the file that lies beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.settings.sources import PictureSettings

NOT_STATED = "licence not stated"
_FILES = ("LICENSE", "LICENCE", "LICENSE.txt", "LICENSE.md", "COPYING")
_LONG = 80


def about(folder: Path) -> Mapping[str, Any]:
    """What ``SOURCE.json`` in a folder states; empty where there is none that can be read."""
    try:
        stated = json.loads((folder / "SOURCE.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stated if isinstance(stated, dict) else {}


def licence_of(settings: PictureSettings, folder: Path, stated: str = "") -> str:
    """What is known of a source's licence; of a licence file its first line, which names it.

    Parameters
    ----------
    stated:
        What another description of the source says.
    """
    if said := settings.licence or about(folder).get("licence") or stated:
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
