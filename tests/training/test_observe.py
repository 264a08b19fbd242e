"""A few real GRPO and SFT steps of a tiny model, watched as the workers are: what is written, what reaches MLflow."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.rewards import suite
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.follow import PICTURE_ALARMS, SHEETS, Follower, sheet_name
from medreasoner_monai.training.grpo_stage import sample_completions
from medreasoner_monai.training.launch import METRICS, read_rows
from medreasoner_monai.training.observe import observe
from medreasoner_monai.training.rows import NOT_FINITE
from medreasoner_monai.training.track import TrainingRun
from medreasoner_monai.training.worker import Report, load_model
from tests.samples import sample

STEPS, PROMPTS, ROLLOUTS, LENGTH = 4, 2, 2, 12
SLEEP = 0.3
COMMON: dict[str, Any] = {
    "max_steps": STEPS,
    "per_device_train_batch_size": PROMPTS * ROLLOUTS,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


@dataclass(frozen=True)
class Watched:
    """What a training wrote."""

    folder: Path

    @property
    def rows(self) -> list[dict[str, Any]]:
        return read_rows(self.folder / METRICS)


def data(folder: Path, processor: Any, *, answered: bool) -> Any:
    write_split(folder / "train.parquet", [sample(n) for n in range(8)])
    return training_set(folder / "train.parquet", processor, template("brief"), answered=answered)


def spoil_loss(trainer: Any, step: int) -> None:
    """A loss that is NaN at a step, with gradients as they were."""
    compute = trainer.compute_loss

    def spoilt(*args: Any, **kwargs: Any) -> Any:
        loss = compute(*args, **kwargs)
        return loss + float("nan") if trainer.state.global_step == step else loss

    trainer.compute_loss = spoilt


@pytest.fixture(scope="module")
def grpo(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    """GRPO whose first step is sound; in the second the loss is NaN, in the third a reward has no value."""
    folder = tmp_path_factory.mktemp("grpo")
    processor = load_processor(tiny_model)

    def slow(completions: list[Any], trainer_state: Any, **_: Any) -> list[float | None]:
        time.sleep(SLEEP)
        return [None if trainer_state.global_step == 2 else float(n) for n in range(len(completions))]

    chosen = suite("soft")
    functions: list[Any] = [*chosen.functions(), slow]
    torch.manual_seed(0)
    trainer = GRPOTrainer(
        model=load_model(str(tiny_model), gpu=False, freeze_vision=True),
        reward_funcs=functions,
        args=GRPOConfig(
            output_dir=str(folder / "checkpoints"),
            num_generations=ROLLOUTS,
            max_completion_length=LENGTH,
            beta=0.01,
            **COMMON,
        ),
        train_dataset=data(folder, processor, answered=False),
        processing_class=processor,
        callbacks=[Report(folder)],
    )
    observe(trainer, folder, rewards=chosen, every=2)
    spoil_loss(trainer, 1)
    trainer.train()
    return Watched(folder)


@pytest.fixture(scope="module")
def sft(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("sft")
    processor = load_processor(tiny_model)
    trainer = SFTTrainer(
        model=load_model(str(tiny_model), gpu=False, freeze_vision=True),
        args=SFTConfig(output_dir=str(folder / "checkpoints"), max_length=None, remove_unused_columns=False, **COMMON),
        train_dataset=data(folder, processor, answered=True),
        processing_class=processor,
        callbacks=[Report(folder)],
    )
    observe(trainer, folder)
    trainer.train()
    return Watched(folder)


GRPO_NAMES = {
    "loss", "grad_norm", "learning_rate", "reward", "reward_std", "frac_reward_zero_std", "kl", "entropy",
    "clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean", "clip_ratio/low_min",
    "clip_ratio/high_max", "completions/mean_length", "completions/min_length", "completions/max_length",
    "completions/clipped_ratio", "completions/mean_terminated_length", "num_tokens", "step_time", "time/wall_s",
    "speed/completions_per_s", "speed/samples_per_s", "speed/prompt_tokens_per_s", "speed/completion_tokens_per_s",
    "speed/rollout_tokens_per_s", "memory/cpu_peak_gib",
    *(f"time/{name}_share" for name in ("rollout", "reward", "logprobs", "update", "other")),
    *(f"rewards/{term}/{what}" for term in suite("soft").terms for what in ("mean", "std")),
}  # fmt: skip
SFT_NAMES = {
    "loss", "grad_norm", "learning_rate", "entropy", "mean_token_accuracy", "num_tokens", "time/update_share",
    "time/other_share", "time/wall_s", "speed/samples_per_s", "speed/tokens_per_s", "memory/cpu_peak_gib",
}  # fmt: skip


def in_mlflow(watched: Watched, folder: Path) -> TrackedRun:
    tracking = Tracking(f"sqlite:///{folder / 'mlflow.db'}", "observe", (folder / "artifacts").as_uri())
    run = tracking.run("training", folder, {})
    follower = Follower(run, watched.folder, folder, NoProgress(), pictures=True, sample_ids=True)
    training = TrainingRun(run, follower, folder)
    for row in watched.rows:
        training.row(row)
    return run


def test_every_metric_of_grpo_reaches_mlflow_under_its_name(grpo: Watched, tmp_path: Path) -> None:
    run = in_mlflow(grpo, tmp_path)
    found = run.client.get_run(run.id).data
    assert set(found.metrics) >= GRPO_NAMES
    history = {m.step: m.value for m in run.client.get_metric_history(run.id, "rewards/bbox_iou/mean")}
    assert history == {row["step"]: row["rewards/bbox_iou/mean"] for row in grpo.rows}
    assert list(history) == [1, 2, 3, 4]
    assert "alarm.not_finite" in found.tags
    assert {f.path for f in run.client.list_artifacts(run.id)} == {"alarms.json", "completions.json", "completions"}


def test_a_rows_time_is_when_it_was_written(grpo: Watched, tmp_path: Path) -> None:
    times = [row["time"] for row in grpo.rows]
    assert all(later - earlier >= SLEEP for earlier, later in pairwise(times))
    assert (grpo.folder / METRICS).stat().st_mtime == pytest.approx(times[-1], abs=5)
    run = in_mlflow(grpo, tmp_path)
    history = run.client.get_metric_history(run.id, "reward")
    assert [m.timestamp for m in history] == [round(t * 1000) for t in times]


def test_every_metric_of_the_cold_start_reaches_mlflow(sft: Watched, tmp_path: Path) -> None:
    run = in_mlflow(sft, tmp_path)
    assert set(run.client.get_run(run.id).data.metrics) >= SFT_NAMES


def test_a_loss_of_nan_is_named_in_its_row_alone(grpo: Watched) -> None:
    named = [row.get(NOT_FINITE, []) for row in grpo.rows]
    assert ["loss" in names for names in named] == [False, True, False, False]
    assert ["loss" in row for row in grpo.rows] == [True, False, True, True]


def test_a_reward_without_a_value_is_named_and_stops_nothing(grpo: Watched) -> None:
    named = [row.get(NOT_FINITE, []) for row in grpo.rows]
    assert ["rewards/slow/mean" in names for names in named] == [False, False, True, False]
    for line in (grpo.folder / METRICS).read_text().splitlines():
        json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_time_that_is_slept_in_a_reward_is_found_there(grpo: Watched) -> None:
    for row in grpo.rows:
        assert SLEEP <= row["time/reward_share"] * row["time/wall_s"] < SLEEP + 1
        assert sum(v for name, v in row.items() if name.endswith("_share")) == pytest.approx(1)
    # transformers times the training step alone; ours has the loader and the log besides.
    assert all(row["time/wall_s"] >= row["step_time"] * 0.999 for row in grpo.rows[1:])


def test_speeds_agree_with_what_trl_counts(grpo: Watched, sft: Watched) -> None:
    before = 0.0
    for row in grpo.rows:
        wall = row["time/wall_s"]
        assert row["speed/completions_per_s"] * wall == pytest.approx(PROMPTS * ROLLOUTS)
        assert row["speed/samples_per_s"] * wall == pytest.approx(PROMPTS)
        written = row["completions/mean_length"] * PROMPTS * ROLLOUTS
        assert row["speed/completion_tokens_per_s"] * wall == pytest.approx(written)
        read = row["num_tokens"] - before - written
        assert row["speed/prompt_tokens_per_s"] * wall == pytest.approx(read)
        before = row["num_tokens"]
    before = 0.0
    for row in sft.rows:
        assert row["speed/tokens_per_s"] * row["time/wall_s"] == pytest.approx(row["num_tokens"] - before)
        assert row["speed/samples_per_s"] * row["time/wall_s"] == pytest.approx(PROMPTS * ROLLOUTS)
        before = row["num_tokens"]


def test_completions_are_kept_with_what_they_earned(grpo: Watched) -> None:
    lines = sample_completions(grpo.folder)
    assert [line["step"] for line in lines] == [0] * 4 + [2] * 4
    assert sorted(p.name for p in (grpo.folder / SHEETS).iterdir()) == [sheet_name(0), sheet_name(2)]
    chosen = suite("soft")
    for line in lines:
        terms = [float(str(line[name])) for name in chosen.terms]
        assert line["reward"] == pytest.approx(sum(terms), abs=1e-3)
        assert str(line["question"]).startswith("Where is the bright area number")
    # The reward of their place in the batch makes the second of each pair the better one, in the first round.
    assert [float(str(line["advantage"])) > 0 for line in lines[:4]] == [False, True, False, True]


def test_pictures_that_reach_the_model_raise_nothing(grpo: Watched, sft: Watched) -> None:
    assert not (grpo.folder / PICTURE_ALARMS).exists() and not (sft.folder / PICTURE_ALARMS).exists()
