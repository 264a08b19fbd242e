"""Where shards come from: what the artifact around them, or the trainer that left them, says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.files import object_digest
from medreasoner_monai.pipeline.artifacts import MANIFEST
from medreasoner_monai.training.launch import METRICS, read_rows

FIGURES = ("reward", "kl", "loss", "mean_token_accuracy")
"""Of the last logged step, where training reports them."""


def lineage_of(*folders: Path) -> dict[str, Any]:
    """What is known of a training from the files beside its shards.

    Parameters
    ----------
    folders:
        Where to look: the shards' folder and those around it, the nearest first.

    Returns
    -------
    Some of ``shards``, ``dataset`` and ``start`` (digests of artifacts), ``config`` (of the training's settings),
    ``prompt``, ``step`` and ``figures``.
    """
    found: dict[str, Any] = {}
    for folder in folders:
        for read in (_artifact, _trainer, _metrics):
            found = {**{name: value for name, value in read(folder).items() if value}, **found}
    return found


def _artifact(folder: Path) -> dict[str, Any]:
    manifest = _json(folder / MANIFEST)
    if not {"kind", "digest", "inputs", "settings"} <= manifest.keys():
        return {}
    settings = manifest["settings"] if isinstance(manifest["settings"], dict) else {}
    return {
        "shards": manifest["digest"],
        "dataset": manifest["inputs"].get("dataset"),
        "start": manifest["inputs"].get("start"),
        "config": object_digest(manifest["settings"]),
        "prompt": settings.get("prompt"),
    }


def _trainer(folder: Path) -> dict[str, Any]:
    state = _json(folder / "trainer_state.json")
    return {"step": state.get("global_step"), "figures": _last(state.get("log_history", []))}


def _metrics(folder: Path) -> dict[str, Any]:
    return {"figures": _last(read_rows(folder / METRICS))}


def _last(rows: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for row in rows:
        found.update({n: float(row[n]) for n in FIGURES if isinstance(row.get(n), int | float)})
    return found


def _json(path: Path) -> dict[str, Any]:
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}
