"""The vision warm-up's loss: a target that is there has a cover and numbers, an absent one covers nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.training.vision_data import NUMBERS, WAVELENGTHS, collate, targets, together
from medreasoner_monai.training.vision_worker import TowerWithHeads
from tests.samples import absent_sample, sample

WIDTH, CELLS = 6, 2


class Tower(nn.Module):
    """Passes on what it is shown: one row of features per image token."""

    def forward(self, pixel_values: Tensor, grid_thw: Tensor) -> Any:
        return SimpleNamespace(pooler_output=pixel_values)


def item(seed: int, *, present: bool, tokens: int = 4) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    cover = torch.rand(tokens, CELLS * CELLS, generator=random) if present else torch.zeros(tokens, CELLS * CELLS)
    return {
        "pixel_values": torch.randn(tokens, WIDTH, generator=random),
        "image_grid_thw": torch.tensor([[1, 2, tokens // 2]]),
        "cover": cover[None],
        "numbers": torch.randn(1, NUMBERS * 2 * WAVELENGTHS, generator=random),
        "category": torch.tensor([seed % 3]),
        "present": torch.tensor([float(present)]),
    }


@pytest.fixture
def model() -> TowerWithHeads:
    torch.manual_seed(0)
    return TowerWithHeads(Tower(), WIDTH, 3, CELLS)


def crossed(model: TowerWithHeads, *items: dict[str, Any]) -> Tensor:
    """Binary cross-entropy of the asked category's cells, by hand, averaged over all tokens."""
    logits = [model.cover(i["pixel_values"]).view(-1, 3, CELLS * CELLS)[:, i["category"][0]] for i in items]
    return F.binary_cross_entropy_with_logits(torch.cat(logits), torch.cat([i["cover"][0] for i in items]))


def told_apart(model: TowerWithHeads, *items: dict[str, Any]) -> Tensor:
    """Binary cross-entropy of whether each is there, read off the mean of its tokens."""
    logits = [model.there(i["pixel_values"].mean(0))[i["category"][0]] for i in items]
    return F.binary_cross_entropy_with_logits(torch.stack(logits), torch.cat([i["present"] for i in items]))


def test_absent_targets_are_asked_for_no_overlap_and_no_numbers(model: TowerWithHeads) -> None:
    items = [item(n, present=False, tokens=2 + 2 * n) for n in range(3)]
    loss = model(**collate(items))["loss"]
    torch.testing.assert_close(loss, 2 * crossed(model, *items) + told_apart(model, *items))
    loss.backward()
    assert model.numbers.weight.grad is not None and not model.numbers.weight.grad.any()
    assert model.cover.weight.grad is not None and model.cover.weight.grad.any()


def test_beside_absent_targets_overlap_and_numbers_weigh_as_they_do_alone(model: TowerWithHeads) -> None:
    there = [item(n, present=True) for n in range(2)]
    missing = [item(n, present=False) for n in range(2, 5)]
    alone = model(**collate(there))["loss"] - 2 * crossed(model, *there)
    mixed = model(**collate([*there, *missing]))["loss"] - 2 * crossed(model, *there, *missing)
    torch.testing.assert_close(mixed - told_apart(model, *there, *missing), alone)


def test_samples_are_prepared_with_whether_they_have_a_target(tiny_model: Path) -> None:
    samples = [sample(1), absent_sample(3)]
    there, missing = targets([[s] for s in samples], load_processor(tiny_model), CELLS, ["liver", "spleen"])
    assert (there["present"], missing["present"]) == (1.0, 0.0)
    assert there["cover"].any() and not missing["cover"].any()
    assert there["cover"].shape == missing["cover"].shape and there["category"] == missing["category"] == 0


def test_targets_of_one_picture_weigh_as_if_each_had_a_picture_of_its_own(model: TowerWithHeads) -> None:
    first, second, other = (item(n, present=n != 1) for n in range(3))
    second["pixel_values"], second["image_grid_thw"] = first["pixel_values"], first["image_grid_thw"]
    names = ("cover", "numbers", "category", "present")
    both = {**first, **{name: torch.cat([first[name], second[name]]) for name in names}}
    apart, shared = model(**collate([first, second, other]))["loss"], model(**collate([both, other]))["loss"]
    torch.testing.assert_close(shared, apart)


def test_a_picture_is_taken_once_for_all_its_targets_and_a_target_once_for_all_its_wordings() -> None:
    liver, other = sample(1), sample(2)
    spleen = replace(liver, id="spleen", category="spleen", mask=~liver.mask)
    pictures = together([liver, other, spleen, replace(liver, id="again", question="In other words?")])
    assert [[s.id for s in shown] for shown in pictures] == [[liver.id, "spleen"], [other.id]]
