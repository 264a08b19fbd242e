"""The vision tower runs once for each picture of a batch, however many rollouts share it.

GRPO repeats a question's picture for each of its rollouts, and TRL hands all copies to the model: when it generates,
when the reference is asked, and in every update. Equal pictures have equal embeddings, so one is enough.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def see_pictures_once(tower: Any) -> None:
    """Let a Qwen2.5-VL vision tower skip the copies in a batch; its outputs and gradients stay what they were.

    Parameters
    ----------
    tower:
        Takes the patches of all pictures ``(P, values)`` and their grids ``(N, 3)``, returns an output whose
        ``pooler_output`` has one row an image token. The windows of its attention end at a picture's border, so no
        picture's embedding depends on its neighbours.
    """
    see_all = tower.forward
    merged = tower.spatial_merge_size**2

    def forward(hidden_states: Tensor, grid_thw: Tensor, **options: Any) -> Any:
        which, first = copies(hidden_states, grid_thw)
        if len(first) == len(which):
            return see_all(hidden_states, grid_thw=grid_thw, **options)
        sizes = grid_thw.prod(-1).tolist()
        patches = torch.split(hidden_states, sizes)
        seen = see_all(torch.cat([patches[i] for i in first]), grid_thw=grid_thw[first], **options)
        for name, per_token in (("pooler_output", merged), ("last_hidden_state", 1)):
            rows = getattr(seen, name)
            each = torch.split(rows, [sizes[i] // per_token for i in first])
            seen[name] = torch.cat([each[i] for i in which])
        return seen

    tower.forward = forward


def copies(patches: Tensor, grids: Tensor) -> tuple[list[int], list[int]]:
    """For each of N pictures the place of its like in the second list, which has the first of each kind.

    Sums point to candidates, comparison decides, so that no two pictures are ever taken for one.
    """
    sizes = grids.prod(-1).tolist()
    each = torch.split(patches, sizes)
    shapes = [tuple(g) for g in grids.tolist()]
    weights = torch.arange(1, patches.shape[1] + 1, device=patches.device, dtype=torch.float32)
    sums = torch.stack([(p.float() @ weights).sum() for p in each]).tolist()
    places: dict[tuple[Any, float], list[int]] = {}
    which: list[int] = []
    first: list[int] = []
    for i, key in enumerate(zip(shapes, sums, strict=True)):
        candidates = places.setdefault(key, [])
        like = next((place for place in candidates if torch.equal(each[first[place]], each[i])), None)
        if like is None:
            like = len(first)
            first.append(i)
            candidates.append(like)
        which.append(like)
    return which, first
