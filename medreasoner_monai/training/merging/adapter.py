"""LoRA adapters: read from PEFT's files or out of shards, and merged into their base by PEFT."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from medreasoner_monai.reasoners.folder import check_folder
from medreasoner_monai.training.merging.model import load_model
from medreasoner_monai.training.merging.names import PEFT_PREFIX, adapter_of, base_name, live_name
from medreasoner_monai.training.merging.source import ADAPTER_CONFIG, ADAPTER_WEIGHTS, Gathered, Source

NAME = "default"
# These start from a base whose weights they change, so the untouched base is not what the adapter belongs to.
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda")


def open_adapter(folder: Path) -> Source:
    """Open an adapter that PEFT saved.

    Raises
    ------
    InputError
        If its weights are missing or damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = folder / ADAPTER_WEIGHTS
    if not path.is_file():
        raise InputError(f"{folder} has {ADAPTER_CONFIG} but no {ADAPTER_WEIGHTS}; save the adapter as safetensors")
    try:
        with safe_open(path, "pt") as opened:
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is damaged or cut off; copy it again ({error})") from None
    return Source(
        kind="adapter",
        folder=folder,
        tensors=Gathered({name: tensor.contiguous for name, tensor in tensors.items()}),
        half=all(t.dtype == torch.bfloat16 for t in tensors.values()),
        adapter=folder,
    )


def is_adapter(source: Source) -> bool:
    """Whether the weights are an adapter's, on their own or inside a wrapped model."""
    return any(name.startswith(PEFT_PREFIX) for name in map(live_name, source.tensors))


def merged_tensors(source: Source, base: Path) -> Mapping[str, Tensor]:
    """The base model's parameters with the adapter merged in, in float32 so that they are rounded once at most.

    Raises
    ------
    InputError
        If there is no adapter config, or adapter and base do not belong together.
    """
    import peft

    if source.adapter is None:
        raise InputError(
            f"{source.folder} holds LoRA weights without {ADAPTER_CONFIG}; name the folder that has it by --adapter"
        )
    settings = _settings(source.adapter)
    check_folder(base)
    _same_base(settings, source.adapter, base)
    model, _ = load_model(base, torch.float32)
    changed = [n for n in map(live_name, source.tensors) if source.kind == "adapter" or adapter_of(n)]
    if model.config.tie_word_embeddings and any(part in n for n in changed for part in (".lm_head.", ".embed_tokens.")):
        raise InputError(
            f"the adapter changes the word embeddings, which {base} ties to its output; it cannot be merged"
        )
    try:
        config = peft.PeftConfig.from_pretrained(str(source.adapter))
        config.inference_mode = False
        config.base_model_name_or_path = str(base)
        wrapped = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{source.adapter / ADAPTER_CONFIG} does not fit {base}: {error}") from None
    if source.kind == "adapter":
        _fill_from_file(wrapped, source, base)
    else:
        _fill_from_training(wrapped, source, base)
    merged = wrapped.merge_and_unload(safe_merge=True)
    tied = merged.all_tied_weights_keys if merged.config.tie_word_embeddings else {}
    return {name: tensor for name, tensor in merged.state_dict().items() if name not in tied}


def _settings(folder: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} has no {ADAPTER_CONFIG}") from None
    except ValueError as error:
        raise InputError(f"{folder / ADAPTER_CONFIG} cannot be read: {error}") from None
    if settings.get("peft_type") != "LORA":
        raise InputError(f"{folder} is an adapter of type {settings.get('peft_type')}, only LORA can be merged")
    start = settings.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise InputError(
            f"{folder} started as {start!r}, which changes the base; convert it to plain LoRA with PEFT first"
        )
    return settings


def _same_base(settings: Mapping[str, Any], adapter: Path, base: Path) -> None:
    """Shapes do not tell two trainings of one model apart; where the base that is named can be read, its weights do."""
    named = Path(settings.get("base_model_name_or_path") or "nowhere")
    if not (named / "config.json").is_file() or named.resolve() == base.resolve():
        return
    if _weights(named) != _weights(base):
        raise InputError(
            f"{adapter} was trained on {named}, whose weights are not those of {base}; give that as --base"
        )


def _weights(folder: Path) -> list[str]:
    return sorted(file_digest(path) for path in folder.glob("*.safetensors"))


def _fill_from_file(wrapped: Any, source: Source, base: Path) -> None:
    import peft

    expected = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    given = {live_name(name): tensor for name, tensor in source.tensors.items()}
    _fits({n: t.shape for n, t in expected.items()}, {n: t.shape for n, t in given.items()}, source, base)
    peft.set_peft_model_state_dict(wrapped, given)


def _fill_from_training(wrapped: Any, source: Source, base: Path) -> None:
    names = {live_name(name): name for name in source.tensors}
    adapters = {adapter_of(name) for name in names} - {None}
    if NAME not in adapters:
        raise InputError(f"{source.folder} holds the adapters {sorted(map(str, adapters))}, expected {NAME!r}")
    # What PEFT leaves trainable: the adapter, and biases of the base if the config says so.
    expected = {n: p.shape for n, p in wrapped.named_parameters() if p.requires_grad}
    trained = {live for live in names if live in expected or adapter_of(live) == NAME}
    given = {live: source.tensors[names[live]] for live in trained}
    _fits(expected, {n: t.shape for n, t in given.items()}, source, base)
    for live, name in names.items():
        if live not in trained and adapter_of(live) is None:
            _unchanged(wrapped, live, source.tensors[name], source, base)
    wrapped.load_state_dict(given, strict=False)


def _fits(expected: Mapping[str, Any], given: Mapping[str, Any], source: Source, base: Path) -> None:
    missing, unknown = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    if missing or unknown:
        which = f"lacks {missing[0]}" if missing else f"has {unknown[0]}, which the base has no place for"
        raise InputError(f"the adapter in {source.folder} does not fit {base}: it {which}")
    for name, shape in expected.items():
        if given[name] != shape:
            raise InputError(
                f"the adapter in {source.folder} does not fit {base}: {name} is of shape {tuple(given[name])}, "
                f"the base asks for {tuple(shape)}; was it trained on another size of the model?"
            )


def _unchanged(wrapped: Any, live: str, tensor: Tensor, source: Source, base: Path) -> None:
    """What was frozen in training must be what the base holds, as far as its precision goes."""
    try:
        own = wrapped.get_parameter(live)
    except AttributeError:
        raise InputError(f"{source.folder} holds {live}, which {base} does not have") from None
    if own.shape != tensor.shape or not torch.equal(own.detach().to(tensor.dtype), tensor):
        raise InputError(f"{source.folder} was trained on another base than {base}: {base_name(live)} differs")
