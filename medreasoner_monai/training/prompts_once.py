"""A prompt is read once for all its rollouts.

TRL hands every prompt to ``generate`` as often as it has rollouts. Before the first token is written, the model reads
all of these copies; their keys and values are equal. Here one copy of each is read and what it left in the cache is
repeated, so that generation goes on as if all had been read.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def read_prompts_once(model: Any) -> None:
    """Let a Qwen2.5-VL's ``generate`` read a prompt once when copies of it stand next to each other in the batch.

    Parameters
    ----------
    model:
        The bare model, without adapters' wrapper; its method for this one phase is wrapped on the instance.
    """
    read_all = getattr(model, "_prefill", None)
    if read_all is None:  # a transformers that has no such phase apart
        return

    def read_once(
        input_ids: Tensor, generation_config: Any, model_kwargs: dict[str, Any], *rest: Any, **more: Any
    ) -> Any:
        times = repeated(input_ids, model_kwargs)
        if times == 1:
            return read_all(input_ids, generation_config, model_kwargs, *rest, **more)
        few = every(model_kwargs, times)
        read = read_all(input_ids[::times], generation_config, few, *rest, **more)
        read.logits = read.logits.repeat_interleave(times, dim=0)
        read.past_key_values.batch_repeat_interleave(times)
        return read

    model._prefill = read_once


def repeated(input_ids: Tensor, inputs: dict[str, Any]) -> int:
    """How often each prompt stands in the batch, copies side by side; 1 where that is not so for all alike.

    Parameters
    ----------
    input_ids:
        ``(B, T)`` tokens, padded on the left.
    inputs:
        What else the model gets. A batch with anything but one picture a prompt is left alone.
    """
    rows, grids, patches = input_ids.shape[0], inputs.get("image_grid_thw"), inputs.get("pixel_values")
    if grids is None or patches is None or grids.shape[0] != rows or inputs.get("pixel_values_videos") is not None:
        return 1
    if inputs.get("inputs_embeds") is not None or _begun(inputs.get("past_key_values")):
        return 1
    same = (input_ids == input_ids[0]).all(dim=1) & (grids == grids[0]).all(dim=1)
    times = rows if bool(same.all()) else int(same.int().argmin())
    while times > 1:
        if (
            rows % times == 0
            and _groups(input_ids, times)
            and _groups(grids, times)
            and _pictures(patches, grids, times)
        ):
            return times
        times -= 1
    return 1


def every(inputs: dict[str, Any], times: int) -> dict[str, Any]:
    """The inputs of each ``times``-th prompt."""
    few = dict(inputs)
    for name in ("attention_mask", "mm_token_type_ids", "image_grid_thw"):
        if few.get(name) is not None:
            few[name] = few[name][::times]
    if few.get("position_ids") is not None:
        few["position_ids"] = few["position_ids"][..., ::times, :]  # (3 or 4, B, T), or (B, T)
    sizes = inputs["image_grid_thw"].prod(-1).tolist()
    few["pixel_values"] = torch.cat(torch.split(inputs["pixel_values"], sizes)[::times])
    return few


def _begun(cache: Any) -> bool:
    return cache is not None and cache.get_seq_length() > 0


def _groups(rows: Tensor, times: int) -> bool:
    grouped = rows.view(rows.shape[0] // times, times, -1)
    return bool((grouped == grouped[:, :1]).all())


def _pictures(patches: Tensor, grids: Tensor, times: int) -> bool:
    each = torch.split(patches, grids.prod(-1).tolist())
    return all(torch.equal(each[n], each[n - n % times]) for n in range(len(each)))
