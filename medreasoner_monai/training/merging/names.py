"""Parameter names: as wrappers and older versions of transformers write them, and as the model has them today."""

from __future__ import annotations

import re

_WRAPPERS = re.compile(r"(?:^module\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.|_orig_mod\.)")
PEFT_PREFIX = "base_model.model."
_ADAPTER_PART = re.compile(
    r"\.(?:lora_[A-Za-z_]+|modules_to_save|token_adapter\.trainable_tokens_\w+)\.(?P<name>\w+)(?=\.|$)"
)


def live_name(name: str) -> str:
    """A Qwen2.5-VL parameter's name in the model of today.

    Wrappers leave their mark in a name; transformers up to 4.51 had the language model in ``model`` and the vision
    tower beside it, as the files of the published weights still have.

    >>> live_name("visual.merger.ln_q.weight"), live_name("model.layers.0.mlp.up_proj.weight")
    ('model.visual.merger.ln_q.weight', 'model.language_model.layers.0.mlp.up_proj.weight')
    >>> live_name("base_model.model.model.layers.1.self_attn.q_proj.lora_A.default.weight")
    'base_model.model.model.language_model.layers.1.self_attn.q_proj.lora_A.default.weight'
    >>> live_name("lm_head.weight")
    'lm_head.weight'
    """
    name = _WRAPPERS.sub("", name)
    if name.startswith(PEFT_PREFIX):
        return PEFT_PREFIX + live_name(name.removeprefix(PEFT_PREFIX))
    if name.startswith("visual."):
        return f"model.{name}"
    if name.startswith("model.") and not name.startswith(("model.language_model.", "model.visual.")):
        return f"model.language_model.{name.removeprefix('model.')}"
    return name


def adapter_of(name: str) -> str | None:
    """The adapter that a parameter of a PEFT model belongs to; None for the base model's own.

    >>> adapter_of("base_model.model.lm_head.lora_A.default.weight"), adapter_of("base_model.model.lm_head.weight")
    ('default', None)
    """
    found = _ADAPTER_PART.search(name)
    return found["name"] if found else None


def base_name(name: str) -> str:
    """The base model's name of a parameter that PEFT has wrapped.

    >>> base_name("base_model.model.model.visual.blocks.0.attn.qkv.base_layer.weight")
    'model.visual.blocks.0.attn.qkv.weight'
    """
    return name.removeprefix(PEFT_PREFIX).replace(".base_layer.", ".").replace(".original_module.", ".")
