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


def verify_model(root: Path) -> dict[str, str]:
    """Check a bundle's model files against the digests noted when it was packaged.

    Returns
    -------
    sha256 of each file, by its path in the model folder.

    Raises
    ------
    ArtifactError
        If a file is missing or has changed.
    """
    digests: dict[str, str] = read_json(root / LINEAGE)["files"]
    for name, digest in digests.items():
        path = root / MODEL / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing, though {LINEAGE} lists it; package the bundle again")
        if file_digest(path) != digest:
            raise ArtifactError(f"{path} has changed since the bundle was made; package the bundle again")
    return digests


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
