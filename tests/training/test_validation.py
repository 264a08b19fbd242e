"""Validation leaves no trace in the training, and the best checkpoint is the one it found."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import ArtifactError, StageFailedError
from medreasoner_monai.training.finish import best_checkpoint, save_whole
from medreasoner_monai.training.validation import greedy, own_randomness


def draw() -> tuple[float, float, float]:
    return torch.rand(()).item(), float(np.random.rand()), random.random()


def test_what_is_drawn_within_is_the_same_each_time_and_unseen_outside() -> None:
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    undisturbed = [draw() for _ in range(3)]
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    seen = [draw()]
    inside = []
    for _ in range(2):
        with own_randomness(5):
            inside.append(torch.rand(3).tolist())
            draw()
        seen.append(draw())
    assert seen == undisturbed
    assert inside[0] == inside[1]


def test_answers_are_greedy_within_and_drawn_outside() -> None:
    trainer = SimpleNamespace(generation_config=SimpleNamespace(do_sample=True), vllm_generation=None)
    with greedy(trainer):
        assert trainer.generation_config.do_sample is False
    assert trainer.generation_config.do_sample is True
    served = SimpleNamespace(vllm_generation=SimpleNamespace(temperature=0.8))
    with greedy(served):
        assert served.vllm_generation.temperature == 0
    assert served.vllm_generation.temperature == 0.8
    with greedy(SimpleNamespace()):
        pass  # the cold start writes no answers


def checkpoint(folder: Path, step: int, best: int | None) -> None:
    (folder / f"checkpoint-{step}").mkdir(parents=True)
    state = {"best_global_step": best}
    (folder / f"checkpoint-{step}" / "trainer_state.json").write_text(json.dumps(state))


def test_the_best_is_kept_and_the_last_where_nothing_was_validated(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a", 20, 20)
    checkpoint(tmp_path / "a", 30, 20)
    assert best_checkpoint(tmp_path / "a").name == "checkpoint-20"
    checkpoint(tmp_path / "b", 90, None)
    checkpoint(tmp_path / "b", 100, None)  # later than 90 by number, not by name
    assert best_checkpoint(tmp_path / "b").name == "checkpoint-100"
    checkpoint(tmp_path / "c", 30, 20)  # the best was not kept
    assert best_checkpoint(tmp_path / "c").name == "checkpoint-30"
    with pytest.raises(StageFailedError, match="no checkpoint"):
        best_checkpoint(tmp_path / "d")


def test_weights_that_are_not_the_whole_model_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    shutil.copytree(tiny_model, tmp_path / "part")
    weights = load_file(tmp_path / "part" / "model.safetensors")
    dropped = min(weights)
    save_file(
        {k: v for k, v in weights.items() if k != dropped}, tmp_path / "part" / "model.safetensors", {"format": "pt"}
    )
    with pytest.raises(ArtifactError, match="does not hold the whole model"):
        save_whole(tmp_path / "part", tiny_model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_adapters_are_merged_into_what_they_began_from(tiny_model: Path, tmp_path: Path) -> None:
    from peft import get_peft_model
    from safetensors.torch import load_file

    from medreasoner_monai.settings.training import LoraSettings
    from medreasoner_monai.training.arguments import lora_config
    from medreasoner_monai.training.worker import load_model

    torch.manual_seed(0)
    model: Any = get_peft_model(
        load_model(str(tiny_model), gpu=False, freeze_vision=True), lora_config(LoraSettings(rank=2, alpha=6))
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    model.save_pretrained(tmp_path / "checkpoint")
    save_whole(tmp_path / "checkpoint", tiny_model, tmp_path / "out")

    adapter = load_file(tmp_path / "checkpoint" / "adapter_model.safetensors")
    before, after = (load_file(f / "model.safetensors") for f in (tiny_model, tmp_path / "out"))
    stem = "base_model.model.model.language_model.layers.1.mlp.up_proj"
    change = 6 / 2 * adapter[f"{stem}.lora_B.weight"] @ adapter[f"{stem}.lora_A.weight"]
    (name,) = (n for n in before if n.endswith("layers.1.mlp.up_proj.weight") and "visual" not in n)
    assert change.abs().max() > 0.01
    torch.testing.assert_close(after[name], before[name] + change)
    untouched = next(n for n in before if "visual" in n)
    assert torch.equal(after[untouched], before[untouched])
