"""Times and speeds, held against sleeps of known length and against counts made by hand."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medreasoner_monai.training.throughput import Clock, Throughput


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


class FakeTrainer:
    """The methods of TRL's GRPO trainer that are timed, each of which takes a known time and does nothing else."""

    num_generations = 4

    def __init__(self, sleep: Any) -> None:
        self.sleep = sleep
        self.args = SimpleNamespace(device=torch.device("cpu"))
        self.accelerator = SimpleNamespace(num_processes=2)
        self.model = SimpleNamespace(training=True)
        self.callbacks: list[Any] = []
        self.logged: list[dict[str, Any]] = []
        self.losses = [1.0]

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def _generate(self, prompts: Any) -> Any:
        self.sleep(0.4)
        return [[1, 2, 3]] * 8, [[4, 5]] * 8

    def _calculate_rewards(self) -> None:
        self.sleep(0.1)

    def _get_per_token_logps_and_entropies(self) -> None:
        self.sleep(0.2)

    def _generate_and_score_completions(self, inputs: Any) -> None:
        self.sleep(0.05)
        self._generate(inputs)
        with torch.no_grad():
            self._get_per_token_logps_and_entropies()
        self._calculate_rewards()

    def training_step(self, model: Any, inputs: Any) -> torch.Tensor:
        self._generate_and_score_completions(inputs)
        self._get_per_token_logps_and_entropies()  # with gradients: part of the update
        self.sleep(0.3)
        return torch.tensor(self.losses.pop())

    def evaluate(self) -> None:
        self.sleep(0.5)
        self._generate(None)

    def log(self, logs: dict[str, Any], start_time: Any = None) -> None:
        self.logged.append(logs)

    def step(self) -> dict[str, Any]:
        """An optimiser step and its log, as transformers' loop has them."""
        self.sleep(0.02)  # the data loader
        self.training_step(None, [{}] * 8)
        self.sleep(0.06)  # the optimiser
        for callback in self.callbacks:
            callback.on_step_end(self.args, None, None)
        self.log({"loss": 1.0})
        return self.logged[-1]


def by_hand() -> tuple[FakeTrainer, Hand]:
    hand = Hand()

    def sleep(seconds: float) -> None:
        hand.time += seconds

    trainer = FakeTrainer(sleep)
    Throughput(trainer, hand)
    return trainer, hand


WALL = 0.02 + 0.05 + 0.4 + 0.2 + 0.1 + 0.2 + 0.3 + 0.06


def test_each_section_has_its_time_and_together_they_are_all_of_it() -> None:
    trainer, _ = by_hand()
    row = trainer.step()
    shares = {name: row[name] * WALL for name in row if name.endswith("_share")}
    assert shares == pytest.approx(
        {
            "time/rollout_share": 0.4,
            "time/reward_share": 0.1,
            "time/logprobs_share": 0.2,
            "time/update_share": 0.2 + 0.3 + 0.06,
            "time/other_share": 0.02 + 0.05,
        }
    )
    assert row["time/wall_s"] == pytest.approx(WALL)


def test_speeds_are_counts_of_all_ranks_over_the_time() -> None:
    trainer, _ = by_hand()
    row = trainer.step()
    assert row["speed/completions_per_s"] * WALL == pytest.approx(2 * 8)
    assert row["speed/samples_per_s"] * WALL == pytest.approx(2 * 2)
    assert row["speed/prompt_tokens_per_s"] * WALL == pytest.approx(2 * 8 * 3)
    assert row["speed/completion_tokens_per_s"] * WALL == pytest.approx(2 * 8 * 2)
    assert row["speed/rollout_tokens_per_s"] * 0.4 == pytest.approx(2 * 8 * 2)


def test_validation_is_apart_with_all_that_happens_in_it() -> None:
    trainer, _ = by_hand()
    trainer.losses = [1.0, 1.0]
    trainer.step()
    trainer.model.training = False
    trainer.evaluate()
    trainer.log({"eval_loss": 1.0})
    assert trainer.logged[-1] == {"eval_loss": 1.0}
    trainer.model.training = True
    row = trainer.step()
    wall = WALL + 0.9
    assert row["time/validation_share"] * wall == pytest.approx(0.9)
    assert row["time/rollout_share"] * wall == pytest.approx(0.4)
    assert row["speed/completions_per_s"] * wall == pytest.approx(2 * 8)


def test_real_sleeps_are_measured() -> None:
    trainer = FakeTrainer(lambda seconds: time.sleep(seconds / 10))
    Throughput(trainer)
    row = trainer.step()
    seconds = {name: row[f"time/{name}_share"] * row["time/wall_s"] for name in ("rollout", "logprobs", "reward")}
    # A sleep is never shorter than it says, and on a busy machine a little longer.
    for name, slept in (("rollout", 0.04), ("logprobs", 0.02), ("reward", 0.01)):
        assert slept <= seconds[name] < slept + 0.1
    assert WALL / 10 <= row["time/wall_s"] < WALL / 10 + 0.5


def test_a_loss_that_is_not_finite_is_logged_as_such_and_the_next_one_is_not() -> None:
    trainer, _ = by_hand()
    trainer.losses = [1.0, float("inf")]
    assert trainer.step()["loss"] != trainer.logged[-1]["loss"]  # NaN
    assert trainer.step()["loss"] == 1.0


def test_memory_is_that_of_this_process() -> None:
    import psutil

    trainer, _ = by_hand()
    resident = psutil.Process().memory_info().rss / 2**30
    peak = trainer.step()["memory/cpu_peak_gib"]
    assert resident * 0.9 <= peak < 100 * resident


def test_supervised_batches_count_samples_and_tokens() -> None:
    hand = Hand()
    trainer = SimpleNamespace(
        args=SimpleNamespace(device=torch.device("cpu")), accelerator=SimpleNamespace(num_processes=1),
        add_callback=lambda callback: None, training_step=lambda model, inputs: torch.tensor(0.5),
        log=lambda logs: logs,
    )  # fmt: skip
    Throughput(trainer, hand)
    mask = torch.tensor([[0, 1, 1], [1, 1, 1]])
    trainer.training_step(None, {"input_ids": torch.zeros(2, 3), "attention_mask": mask})
    hand.time = 0.5
    row = trainer.log({"loss": 0.5})
    assert row["speed/samples_per_s"] == pytest.approx(4)
    assert row["speed/tokens_per_s"] == pytest.approx(10)
    assert row["time/update_share"] == pytest.approx(1)


def test_a_section_that_fails_is_left() -> None:
    hand = Hand()
    clock = Clock(hand)

    def fails() -> None:
        hand.time += 1
        raise ValueError

    with pytest.raises(ValueError), clock.section("rollout"):  # noqa: PT011 - any will do
        fails()
    hand.time += 2
    assert clock.take() == {"rollout": 1, "other": 2}


def test_it_costs_nothing_noticeable() -> None:
    """A training step takes a tenth of a second at the least, and passes through some ten sections."""
    clock = Clock()
    started = time.perf_counter()
    for _ in range(10_000):
        with clock.section("rollout"):
            pass
    assert (time.perf_counter() - started) / 10_000 < 1e-4
