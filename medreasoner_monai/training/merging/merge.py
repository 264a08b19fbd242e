"""Merge: shards or an adapter in, one Hugging Face folder out, checked against what was trained."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import InputError, nearest
from medreasoner_monai.files import object_digest
from medreasoner_monai.pipeline.artifacts import write_manifest
from medreasoner_monai.pipeline.progress import NoProgress, ProgressReporter
from medreasoner_monai.reasoners.folder import (
    check_folder,
    check_processor,
    folder_digest,
    read_config,
    read_note,
    write_note,
)
from medreasoner_monai.training.merging.card import write_card
from medreasoner_monai.training.merging.lineage import lineage_of
from medreasoner_monai.training.merging.recognise import open_source
from medreasoner_monai.training.merging.source import PROBE, Source

DTYPES = ("float32", "bfloat16")
_BESIDE = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.json",
    "chat_template.jinja",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
    "generation_config.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
)
"""What is copied from the base as it is: everything that decides how a text or picture is read, and the licence."""


def merge_to(
    out: Path,
    shards: Path,
    *,
    base: Path | None = None,
    adapter: Path | None = None,
    dtype: str | None = None,
    probe: Path | None = None,
    watch: ProgressReporter | None = None,
) -> dict[str, Any]:
    """Merge into a new folder, an artifact of the kind ``model``; it has its name only when everything was checked.

    Parameters
    ----------
    out:
        The new folder. Nothing is ever overwritten: it may exist only if it is empty.
    shards, base, adapter, dtype, probe, watch:
        See :func:`merge_into`.

    Returns
    -------
    The facts of :func:`merge_into`.

    Raises
    ------
    InputError
        If ``out`` is taken, or what is given cannot be merged.
    ArtifactError
        If the result is not what was trained.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already; nothing is overwritten, choose another --out")
    started, out = time.monotonic(), out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        facts = merge_into(
            partial, shards, base=base, adapter=adapter, dtype=dtype, probe=probe, watch=watch, name=out.name
        )
        inputs = {name: facts[name] for name in ("base", "start", "dataset", "shards") if facts.get(name)}
        settings = {"dtype": facts["dtype"], "source": facts["source"], "step": facts.get("step")}
        write_manifest(
            partial,
            "model",
            key=object_digest([inputs, settings])[:16],
            inputs=inputs,
            settings=settings,
            facts=facts,
            seconds=time.monotonic() - started,
        )
        try:
            partial.rename(out)
        except OSError:
            raise InputError(f"{out} was made by another process meanwhile; choose another --out") from None
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return facts


def merge_into(
    out: Path,
    shards: Path,
    *,
    base: Path | None = None,
    adapter: Path | None = None,
    dtype: str | None = None,
    probe: Path | None = None,
    known: Mapping[str, Any] | None = None,
    watch: ProgressReporter | None = None,
    name: str | None = None,
) -> dict[str, Any]:
    """Merge into a folder that somebody else names and finishes.

    Parameters
    ----------
    out:
        Where the files are written.
    shards:
        See :func:`~medreasoner_monai.training.merging.recognise.open_source`.
    base:
        The model folder that training started from. May be left out where the shards bring config and tokenizer along.
    adapter:
        The folder with ``adapter_config.json``, when shards hold LoRA weights and it is not beside them.
    dtype:
        ``float32`` or ``bfloat16``; by default what the training computed in.
    probe:
        A probe of the live model; by default the one beside the shards, if there is one.
    known:
        More for the note, such as ``prompt``; it goes before what is found beside the shards.
    watch:
        Told about each parameter.
    name:
        The model's name in its card.

    Returns
    -------
    What is in the folder's note: ``source``, ``step``, ``dtype``, ``parameters``, ``base``, ``probe``, lineage.

    Raises
    ------
    InputError
        If what is given cannot be merged.
    ArtifactError
        If the folder that was written does not hold what was trained.
    """
    import torch

    from medreasoner_monai.training.merging.adapter import is_adapter, merged_tensors
    from medreasoner_monai.training.merging.model import check_weights, write_weights
    from medreasoner_monai.training.merging.probe import hold_against

    _check_dtype(dtype)
    source = open_source(shards, adapter)
    lora = is_adapter(source)
    config = _config_folder(source, base, lora)
    half = source.half or (lora and _stored(config) == "bfloat16")
    chosen = dtype or ("bfloat16" if half else "float32")
    exact = getattr(torch, chosen)
    tensors = merged_tensors(source, config) if lora else source.tensors

    told = _Told(watch or NoProgress(), 2 * len(tensors))
    write_weights(out, config, tensors, exact, told)
    _copy_beside(config, out)
    parameters = check_weights(out, tensors, exact, told)
    check_folder(out)
    facts = {
        "source": f"LoRA in {source}" if lora and source.kind != "adapter" else str(source),
        "step": source.step,
        "dtype": chosen,
        "parameters": parameters,
        "base": folder_digest(base) if base is not None else None,
        "prompt": read_note(config).get("prompt"),
    }
    facts |= lineage_of(*dict.fromkeys((source.folder, shards, source.folder.parent, shards.parent)))
    facts |= {"step": source.step or facts.get("step"), **(known or {})}
    facts = {key: value for key, value in facts.items() if value is not None}
    found = _find_probe(probe, source, shards)
    if found is not None:
        facts["probe"] = hold_against(found, out, stored=chosen)
    write_note(out, **facts)
    write_card(out, name or out.name, facts)
    return facts


def _check_dtype(dtype: str | None) -> None:
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f"no dtype {dtype!r}.{nearest(dtype, DTYPES)} Known: {', '.join(DTYPES)}")


def _config_folder(source: Source, base: Path | None, lora: bool) -> Path:
    """Where config, tokenizer and processor come from."""
    config = base or (None if lora else source.config)
    if config is None:
        raise InputError(f"{source.folder} holds {source} alone; --base names the model that training started from")
    if lora:
        check_folder(config)
    else:
        read_config(config)
        check_processor(config)
    return config


def _stored(folder: Path) -> str:
    config = read_config(folder)
    return str(config.get("dtype") or config.get("torch_dtype") or "float32")


def _copy_beside(config: Path, out: Path) -> None:
    for file in _BESIDE:
        if (config / file).is_file():
            shutil.copyfile(config / file, out / file)


def _find_probe(given: Path | None, source: Source, shards: Path) -> Path | None:
    if given is not None:
        if not given.is_file():
            raise InputError(f"there is no probe {given}")
        return given
    places = (source.folder, shards, source.folder.parent)
    return next((p / PROBE for p in places if (p / PROBE).is_file()), None)


class _Told:
    """Counts parameters, written and read back."""

    def __init__(self, watch: ProgressReporter, total: int) -> None:
        self.watch = watch
        self.total = total
        self.done = 0

    def __call__(self, name: str) -> None:
        self.done += 1
        self.watch.step(self.done, self.total)
