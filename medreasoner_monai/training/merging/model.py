"""Tensors by name become a model folder, which is then read back and compared."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.training.merging.names import live_name

SHARD_SIZE = "5GB"
Told = Callable[[str], None]


def load_model(folder: Path, dtype: torch.dtype | str) -> tuple[Any, dict[str, Any]]:
    """A folder's model, and what transformers has to say about its keys."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    with _no_bars():
        loaded: Any = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=dtype, output_loading_info=True
        )
    model, report = loaded
    return model, report


def write_weights(out: Path, config: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype, told: Told) -> None:
    """Write config and safetensors of the model whose config lies in ``config``, with these parameters.

    ``told`` is called with each parameter's name once it is there. One whole copy in ``dtype`` lies in memory.

    Raises
    ------
    InputError
        If parameters are missing, unknown, of another shape or not finite, or tied ones differ.
    """
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    settings = Qwen2_5_VLConfig.from_pretrained(config, local_files_only=True)
    with torch.device("meta"):
        model: Any = Qwen2_5_VLForConditionalGeneration(settings)
    shapes = {name: tensor.shape for name, tensor in model.state_dict().items()}
    tied = dict(model.all_tied_weights_keys) if settings.tie_word_embeddings else {}
    names = _matched(tensors, set(shapes), set(tied), config)
    whole: dict[str, Tensor] = {}
    for name in sorted(names, key=lambda n: n in tied):
        tensor = tensors[names[name]]
        if tensor.shape != shapes[name]:
            raise InputError(
                f"{name} is of shape {tuple(tensor.shape)}, {config} asks for {tuple(shapes[name])}; "
                "is it the config of another size of the model?"
            )
        # A copy, so that nothing shares the memory of a file or of another parameter.
        made = tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype, copy=True).contiguous()
        if not torch.isfinite(made).all():
            raise InputError(f"{name} holds NaN or infinity; the training diverged, merge an earlier checkpoint")
        if name not in tied:
            whole[name] = made
        elif not torch.equal(made, whole[tied[name]]):
            raise InputError(
                f"{config} ties {name} to {tied[name]}, but the shards hold different values for them; "
                "were they trained with tie_word_embeddings off?"
            )
        told(name)
    model.load_state_dict(whole, strict=False, assign=True)
    model.tie_weights()
    with _no_bars():
        model.save_pretrained(out, max_shard_size=SHARD_SIZE)
    for path in out.glob("*.safetensors"):
        path.chmod((out / "config.json").stat().st_mode)  # safetensors gives them to their owner alone
    del model, whole, made
    gc.collect()  # a model's modules point at each other; it would still be there when it is read back


def check_weights(out: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype, told: Told) -> int:
    """Load a written folder as anybody would and compare every parameter, bit for bit; the number of parameters.

    Raises
    ------
    ArtifactError
        If a key is missing or unexpected, or a parameter is not what was given.
    """
    model, report = load_model(out, "auto")
    wrong = {what: sorted(map(str, keys)) for what, keys in report.items() if keys}
    if wrong:
        raise ArtifactError(f"the merged folder does not load cleanly: {wrong}")
    saved = model.state_dict()
    for name in tensors:
        tensor = tensors[name]
        if not torch.equal(saved[live_name(name)], tensor.to(dtype if tensor.is_floating_point() else tensor.dtype)):
            raise ArtifactError(f"{name} was written differently from what the shards hold; is the disk sound?")
        told(name)
    parameters = sum(p.numel() for p in model.parameters())
    del model, saved
    gc.collect()
    return parameters


def _matched(tensors: Mapping[str, Tensor], expected: set[str], tied: set[str], config: Path) -> dict[str, str]:
    """For each of the model's names the one in ``tensors``."""
    names: dict[str, str] = {}
    for name in tensors:
        if live_name(name) in names:
            raise InputError(f"the shards hold {live_name(name)} twice, as {names[live_name(name)]} and {name}")
        names[live_name(name)] = name
    missing, unknown = sorted(expected - tied - names.keys()), sorted(names.keys() - expected)
    if missing or unknown:
        raise InputError(
            f"the shards do not fit the model in {config}: "
            + "; ".join(
                f"{len(found)} parameters {what}, such as {found[0]}"
                for found, what in ((missing, "are missing"), (unknown, "are unknown"))
                if found
            )
        )
    return names


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without the bars of transformers, which draw over ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
