"""A Hugging Face model folder, as every stage reads it: checked, with the frame its processor will see images in."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.files import remembered_digest, write_json
from medreasoner_monai.pipeline.artifacts import MANIFEST
from medreasoner_monai.task.geometry import Frame

ARCHITECTURE = "Qwen2_5_VLForConditionalGeneration"
NOTE = "medreasoner.json"
"""Beside the model: the prompt template it was trained with, and its lineage. Absent in folders from elsewhere."""


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's config.

    Raises
    ------
    InputError
        If it has none, or is of another architecture.
    """
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} is no model folder: it has no config.json") from None
    except ValueError as error:
        raise InputError(f"{folder / 'config.json'} cannot be read: {error}") from None
    architectures = config.get("architectures") or ["(none)"]
    if ARCHITECTURE not in architectures:
        raise InputError(f"{folder} holds {architectures[0]}, expected {ARCHITECTURE} (Qwen2.5-VL, Lingshu…)")
    return config


def check_folder(folder: Path) -> dict[str, Any]:
    """The model folder's config.

    Raises
    ------
    InputError
        If the folder lacks a config, weights or a processor, or holds another architecture.
    """
    config = read_config(folder)
    if not any(folder.glob("*.safetensors")):
        raise InputError(f"{folder} has no *.safetensors weights; merge or convert the checkpoint first")
    check_processor(folder)
    return config


def check_processor(folder: Path) -> None:
    """Refuse a folder without a processor.

    Raises
    ------
    InputError
        If there is none.
    """
    if not any((folder / n).is_file() for n in ("processor_config.json", "preprocessor_config.json")):
        raise InputError(f"{folder} has no processor (preprocessor_config.json); copy it from the base model")


def folder_digest(folder: Path, file_digests: Mapping[str, str] | None = None) -> str:
    """sha256 over the names and contents of what decides the answers; the notes beside the model do not count.

    Parameters
    ----------
    file_digests:
        sha256 by file name, where known already; those files are not read again.
    """
    known = file_digests or {}
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        counts = path.suffix in (".json", ".safetensors", ".txt", ".jinja", ".model") and path.name not in (
            MANIFEST,
            NOTE,
        )
        if path.is_file() and counts:
            total.update(f"{path.name}\x1f{known.get(path.name) or remembered_digest(path)}\n".encode())
    return total.hexdigest()


def read_note(folder: Path) -> dict[str, Any]:
    """What the folder says of itself, empty for a folder from elsewhere."""
    try:
        note: dict[str, Any] = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    return note


def write_note(folder: Path, **values: Any) -> None:
    """Say which prompt template the model was trained with, and what it came from."""
    write_json(folder / NOTE, {**read_note(folder), **values})


def load_processor(folder: Path) -> Any:
    """The folder's processor, padding on the left as generation needs it."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    processor.tokenizer.padding_side = "left"
    return processor


def seen_frame(processor: Any, stored: Frame) -> Frame:
    """The model frame: what the processor resizes an image of the stored frame to (multiples of patch x merge)."""
    images = processor.image_processor
    rows, cols = resized(
        stored.height,
        stored.width,
        factor=images.patch_size * images.merge_size,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
    )
    return Frame(cols, rows, "model")


def resized(height: int, width: int, *, factor: int, min_pixels: int, max_pixels: int) -> tuple[int, int]:
    """``(rows, cols)`` after Qwen2.5-VL's resize; its own rule, so that both never part.

    Raises
    ------
    InputError
        If one side is more than 200 times the other.
    """
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    try:
        rows, cols = smart_resize(height, width, factor=factor, min_pixels=min_pixels, max_pixels=max_pixels)
    except ValueError as error:
        raise InputError(f"an image of {width} x {height} cannot be shown to the model: {error}") from None
    return int(rows), int(cols)
