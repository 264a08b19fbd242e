"""The model folder inside a MONAI bundle: where it lies, and whether it is still what was packaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ArtifactError
from medreasoner_monai.files import file_digest

CONFIG = "configs/inference.json"
MODEL = "models/reasoner"
LINEAGE = "models/lineage.json"


def is_bundle(folder: Path) -> bool:
    """Whether a folder is a bundle of ours."""
    return (folder / CONFIG).is_file()


def verified_model(root: Path) -> Path:
    """The model folder of a bundle whose files match the digests noted when it was packaged.

    Raises
    ------
    ArtifactError
        If a file is missing or has changed.
    """
    lineage = read_json(root / LINEAGE)
    for name, digest in lineage["files"].items():
        path = root / MODEL / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing, though {LINEAGE} lists it; package the bundle again")
        if file_digest(path) != digest:
            raise ArtifactError(f"{path} has changed since the bundle was made; package the bundle again")
    return root / MODEL


def read_json(path: Path) -> Mapping[str, Any]:
    """A JSON file of the bundle.

    Raises
    ------
    ArtifactError
        If it is missing or is not JSON.
    """
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; package the bundle again") from None
    except ValueError as error:
        raise ArtifactError(f"{path} cannot be read: {error}; package the bundle again") from None
    return value
