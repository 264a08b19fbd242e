"""Memory, disk and parameters, worked out by hand for a model whose size is known."""

from __future__ import annotations

import pytest

from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings, HardwareSettings, LoraSettings
from medreasoner_monai.training import estimate
from medreasoner_monai.training.estimate import Shape
from tests.training.seven_b import SEVEN_B


@pytest.fixture(scope="module")
def shape() -> Shape:
    return Shape.of(SEVEN_B)


def test_parameters_of_the_7b(shape: Shape) -> None:
    assert shape.parameters == 8_292_166_656
    # Keys and values of 28 layers, 4 heads of 128 each.
    assert shape.cache == 2 * 28 * 4 * 128


def test_adapters_by_hand(shape: Shape) -> None:
    h, kv, i, r = 3584, 512, 18944, 64
    attention = (h + h) + (h + kv) + (h + kv) + (h + h)
    mlp = (h + i) + (h + i) + (i + h)
    assert shape.trained(LoraSettings(rank=r), freeze_vision=True) == 28 * r * (attention + mlp)


def test_all_weights_sharded_three_ways_over_eight_ranks(shape: Shape) -> None:
    billions = shape.parameters / 1e9
    for stage, weights, gradients, optimiser in ((0, 1, 1, 1), (1, 1, 1, 8), (2, 1, 8, 8), (3, 8, 8, 8)):
        settings = GrpoSettings(
            micro_batch=1,
            freeze_vision=False,
            kl=0,
            deepspeed={"processes": 8, "zero_stage": stage},  # type: ignore[arg-type]
        )
        held, host = estimate.states(shape, settings, gpu=True)
        assert held["weights"] == pytest.approx(2 * billions / weights)
        assert held["gradients"] == pytest.approx(2 * billions / gradients)
        assert held["optimiser"] == pytest.approx(12 * billions / optimiser)
        assert host == 0 and "reference model" not in held


def test_an_adapter_switched_off_is_the_reference(shape: Shape) -> None:
    adapters = GrpoSettings(lora=LoraSettings(), kl=0.01)
    assert "reference model" not in estimate.states(shape, adapters, gpu=True)[0]
    everything = GrpoSettings(kl=0.01)
    assert estimate.states(shape, everything, gpu=True)[0]["reference model"] == pytest.approx(16.58, abs=0.01)


def test_what_is_offloaded_is_the_machines(shape: Shape) -> None:
    spread = {"processes": 4, "zero_stage": 3, "offload": "all"}
    settings = GrpoSettings(prompts=16, rollouts=16, freeze_vision=False, deepspeed=spread)  # type: ignore[arg-type]
    held, host = estimate.states(shape, settings, gpu=True)
    assert (held["weights"], held["optimiser"]) == (0, 0)
    assert host == pytest.approx((12 + 2) * shape.parameters / 1e9)


def test_the_cache_of_a_ranks_rollouts(shape: Shape) -> None:
    settings = GrpoSettings(
        prompts=8, rollouts=8, micro_batch=1, max_prompt=2048, max_completion=1024, lora=LoraSettings()
    )
    needs = estimate.grpo(shape, settings, HardwareSettings(gpus=1), gpu=True)
    # 64 sequences of 3072 tokens, 57344 bytes each.
    assert needs.memory["keys and values"] == pytest.approx(64 * 3072 * 57344 / 1e9)


def test_checkpoints_kept_and_the_one_being_written(shape: Shape) -> None:
    settings = ColdStartSettings(freeze_vision=False)
    assert estimate.disk(shape, settings, gpu=True) == pytest.approx(3 * (12 + 4) * shape.parameters / 1e9)
    # GRPO's best is copied beside them.
    everything = GrpoSettings(freeze_vision=False)
    assert estimate.disk(shape, everything, gpu=True) == pytest.approx(4 * (12 + 4) * shape.parameters / 1e9)


def test_gradient_checkpointing_trades_memory_for_time(shape: Shape) -> None:
    def needs(checkpointing: bool) -> estimate.Estimate:
        settings = ColdStartSettings(batch=8, gradient_checkpointing=checkpointing)
        return estimate.cold_start(shape, settings, 2048, HardwareSettings(gpus=1), gpu=True)

    spare, fast = needs(True), needs(False)
    assert spare.memory["activations"] < fast.memory["activations"] / 3
    assert spare.seconds_per_step is not None and fast.seconds_per_step is not None
    assert spare.seconds_per_step == pytest.approx(fast.seconds_per_step * 8 / 6)
