"""What TRL is told for each config that comes with the project."""

from __future__ import annotations

import dataclasses
import re
import warnings
from pathlib import Path
from typing import Any

import pytest
from trl import GRPOConfig, SFTConfig

from medreasoner_monai.rewards import suite
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.loading import load_settings
from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings, LoraSettings
from medreasoner_monai.training.arguments import grpo_arguments, lora_config, sft_arguments

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
NAMES = ("smoke", "starter", "longer", "single-gpu-lora", "single-node", "paper")


def grpo(settings: GrpoSettings, *, gpu: bool = True, validated: bool = True) -> dict[str, Any]:
    chosen = suite(settings.rewards.suite, point_overlap=settings.rewards.point_overlap)
    return grpo_arguments(settings, chosen, Path("out"), gpu=gpu, validated=validated)


@pytest.fixture(params=NAMES)
def settings(request: pytest.FixtureRequest) -> Settings:
    return load_settings(CONFIGS / f"{request.param}.yaml")


def test_trl_knows_every_argument(settings: Settings) -> None:
    known = {f.name for f in dataclasses.fields(GRPOConfig)}
    assert set(grpo(settings.grpo)) <= known
    known = {f.name for f in dataclasses.fields(SFTConfig)}
    assert set(sft_arguments(settings.cold_start, Path("out"), gpu=True, validated=True)) <= known


def test_a_round_is_shared_out_whole(settings: Settings) -> None:
    values, s = grpo(settings.grpo), settings.grpo
    at_once = values["per_device_train_batch_size"] * s.deepspeed.ranks
    assert at_once * values["steps_per_generation"] == s.prompts * s.rollouts
    assert values["gradient_accumulation_steps"] * s.updates == values["steps_per_generation"]
    assert values["save_steps"] % s.updates == 0 == values["eval_steps"] % s.updates
    values, c = sft_arguments(settings.cold_start, Path("out"), gpu=True, validated=True), settings.cold_start
    ranks = c.deepspeed.ranks if c.deepspeed else 1
    assert values["per_device_train_batch_size"] * values["gradient_accumulation_steps"] * ranks == c.batch


def test_trl_takes_them(settings: Settings, tmp_path: Path) -> None:
    """Its own checks run when its config is built; what needs a GPU or many ranks is left out of them here."""
    values = grpo(settings.grpo, gpu=False) | {"output_dir": str(tmp_path)}
    for name in ("deepspeed", "use_vllm"):
        values.pop(name, None)
    values["steps_per_generation"] *= settings.grpo.deepspeed.ranks  # one rank makes the whole round
    made = GRPOConfig(**values)
    assert made.generation_batch_size == settings.grpo.prompts * settings.grpo.rollouts


def test_the_papers_settings_reach_trl() -> None:
    values = grpo(load_settings(CONFIGS / "paper.yaml").grpo)
    expected = {
        "num_generations": 16,
        "learning_rate": 1e-6,
        "beta": 0.01,
        "loss_type": "grpo",
        "importance_sampling_level": "token",
        "scale_rewards": "group",
        "max_completion_length": 2048,
        "max_steps": 960,  # two mini-batches of 64 prompts in each of 480 rounds
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_max_model_length": 4096,
        "bf16": True,
        "gradient_checkpointing": True,
        "metric_for_best_model": "eval_reward",
    }
    assert {name: values[name] for name in expected} == expected
    assert values["deepspeed"]["zero_optimization"]["stage"] == 3
    assert values["reward_weights"] == [1.0] * 4


def test_losses_and_samplers_of_others_are_named() -> None:
    loss = {"kind": "dapo", "importance": "sequence", "clip_high": 0.28, "advantage_scale": "none", "entropy": 0.001}
    generation = {"engine": "vllm-server", "server": "http://gpu7:8001"}
    values = grpo(GrpoSettings(loss=loss, generation=generation))  # type: ignore[arg-type]
    assert (values["loss_type"], values["importance_sampling_level"]) == ("dapo", "sequence")
    assert (values["epsilon"], values["epsilon_high"], values["scale_rewards"]) == (0.2, 0.28, "none")
    assert (values["vllm_mode"], values["vllm_server_base_url"]) == ("server", "http://gpu7:8001")


def test_offloading_moves_what_it_names() -> None:
    for offload, moved in (
        ("none", set()),
        ("optimizer", {"offload_optimizer"}),
        ("all", {"offload_optimizer", "offload_param"}),
    ):
        s = GrpoSettings(deepspeed={"zero_stage": 3, "offload": offload})  # type: ignore[arg-type]
        zero = grpo(s)["deepspeed"]["zero_optimization"]
        assert {name for name in zero if name.startswith("offload")} == moved


@pytest.mark.parametrize(("every", "logged"), [(50, 5), (4, 1), (10, 5), (15, 5), (7, 1)])
def test_no_average_of_the_loss_spans_a_checkpoint(every: int, logged: int) -> None:
    values = sft_arguments(ColdStartSettings(save_every=every), Path("out"), gpu=False, validated=False)
    assert values["logging_steps"] == logged
    assert "eval_strategy" not in values


def test_adapters_are_in_the_language_model_alone(tiny_model: Path) -> None:
    from peft import get_peft_model

    from medreasoner_monai.training.worker import load_model, vision_tower

    model = get_peft_model(
        load_model(str(tiny_model), gpu=False, freeze_vision=True), lora_config(LoraSettings(rank=4))
    )
    adapted = [name for name, p in model.named_parameters() if p.requires_grad]
    # Two layers of seven linear maps, two matrices each.
    assert len(adapted) == 2 * 7 * 2
    assert all("lora_" in name and "language_model" in name for name in adapted)
    assert not any(p.requires_grad for p in vision_tower(model).parameters())


def test_trl_takes_the_vllm_that_the_constraints_name(monkeypatch: pytest.MonkeyPatch) -> None:
    from trl import import_utils

    pins = (CONFIGS.parent / "constraints" / "python311.txt").read_text()
    found = re.search(r"^vllm==(\S+)$", pins, re.MULTILINE)
    assert found is not None
    installed = {"vllm": found[1]}
    monkeypatch.setattr(import_utils, "_is_package_available", lambda name, **_: (name in installed, installed[name]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it warns of a version it does not know
        assert import_utils.is_vllm_available()
    installed["vllm"] = "99.0"
    with pytest.warns(UserWarning, match="supports vLLM versions"):
        import_utils.is_vllm_available()
