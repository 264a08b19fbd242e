"""A batch with copies of pictures has the same embeddings and gradients, for less work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from medreasoner_monai.training.pictures_once import copies, see_pictures_once

GRIDS = torch.tensor([[1, 4, 6], [1, 6, 4], [1, 4, 6], [1, 4, 6], [1, 6, 4]])
VALUES = 3 * 2 * 14 * 14


@pytest.fixture
def tower(tiny_model: Path) -> Any:
    from transformers import Qwen2_5_VLForConditionalGeneration

    return Qwen2_5_VLForConditionalGeneration.from_pretrained(tiny_model, local_files_only=True).model.visual


@pytest.fixture
def patches() -> Tensor:
    """Five pictures: a, b, a, c, b, where b has the same patches as a but another shape."""
    a, c = torch.randn(2, 24, VALUES, generator=torch.Generator().manual_seed(0))
    return torch.cat([a, a, a, c, a])


def test_copies_are_found_by_pixels_and_shape(patches: Tensor) -> None:
    assert copies(patches, GRIDS) == ([0, 1, 0, 2, 1], [0, 1, 3])


def test_equal_sums_do_not_make_two_pictures_one() -> None:
    patches = torch.zeros(2, VALUES)
    patches[0, 5] = 6.0  # the weights are 1, 2, 3…: both sums are 36
    patches[1, 0] = 36.0

    assert copies(patches, torch.tensor([[1, 1, 1], [1, 1, 1]])) == ([0, 1], [0, 1])


def test_the_embeddings_and_gradients_stay_the_same(tower: Any, patches: Tensor) -> None:
    def run() -> tuple[Tensor, Tensor, list[Tensor]]:
        tower.zero_grad()
        out = tower(patches, grid_thw=GRIDS)
        (out.pooler_output * weights).sum().backward()
        return (
            out.pooler_output.detach(),
            out.last_hidden_state.detach(),
            [p.grad.clone() for p in tower.parameters()],
        )

    rows = len(patches) // 4
    weights = torch.randn(rows, 32, generator=torch.Generator().manual_seed(1))
    expected = run()
    see_pictures_once(tower)
    found = run()

    torch.testing.assert_close(found[0], expected[0])
    torch.testing.assert_close(found[1], expected[1])
    for one, other in zip(found[2], expected[2], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_each_picture_is_computed_once(tower: Any, patches: Tensor) -> None:
    seen = []
    tower.patch_embed.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    see_pictures_once(tower)

    tower(patches, grid_thw=GRIDS)

    assert seen == [3 * 24]
