"""GRPO's own process, one a rank: TRL's trainer under DeepSpeed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from medreasoner_monai.prompts import template
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.rewards import RewardSuite, suite
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.deepspeed import deepspeed_config, prepare
from medreasoner_monai.training.observe import observe
from medreasoner_monai.training.pictures_once import see_pictures_once
from medreasoner_monai.training.worker import Report, last_checkpoint, load_model, single_process_group, start


def train(job: dict[str, Any]) -> None:
    """Improve ``job["model"]`` by GRPO on ``job["train"]``; checkpoints lie in ``job["folder"]``."""
    settings, folder = job["settings"], Path(job["folder"])
    gpu = torch.cuda.is_available()
    single_process_group()
    prepare(gpu=gpu)
    processor = load_processor(Path(job["model"]))
    prompt = template(job["prompt"])
    rewards = settings["rewards"]
    chosen = suite(
        rewards["suite"], weights=rewards["weights"], point_overlap=rewards["point_overlap"], think=prompt.think
    )
    functions: list[Any] = chosen.functions()
    trainer = GRPOTrainer(
        model=load_model(job["model"], gpu=gpu, freeze_vision=settings["freeze_vision"]),
        reward_funcs=functions,
        args=grpo_arguments(settings, chosen, folder, gpu=gpu),
        train_dataset=training_set(
            Path(job["train"]),
            processor,
            prompt,
            answered=False,
            limit=settings["steps"] * settings["prompts"],
            seed=settings["seed"],
        ),
        processing_class=processor,
        callbacks=[Report(folder)],
    )
    models: list[Any] = [m for m in (trainer.model, trainer.ref_model) if m is not None]
    for model in models:
        see_pictures_once(model.model.visual)
    observe(trainer, folder, rewards=chosen, every=settings["save_every"] * settings["updates"])
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))


def grpo_arguments(settings: dict[str, Any], chosen: RewardSuite, folder: Path, *, gpu: bool) -> GRPOConfig:
    """TRL's arguments for our settings.

    A round is ``prompts`` x ``rollouts`` completions over all ranks, used up in ``updates`` optimiser steps; TRL counts
    the latter. Checkpoints fall between rounds, so that nothing generated is lost with one.
    """
    ranks, updates = settings["deepspeed"]["processes"], settings["updates"]
    together = settings["prompts"] * settings["rollouts"] // (settings["micro_batch"] * ranks)
    return GRPOConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings["steps"] * updates,
        per_device_train_batch_size=settings["micro_batch"],
        gradient_accumulation_steps=together // updates,
        steps_per_generation=together,
        num_generations=settings["rollouts"],
        learning_rate=settings["learning_rate"],
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings["warmup_steps"],
        temperature=settings["temperature"],
        beta=settings["kl"],
        loss_type="grpo",
        max_completion_length=settings["max_completion"],
        reward_weights=[chosen.weight(name) for name in chosen.terms],
        deepspeed=deepspeed_config(settings["deepspeed"]["zero_stage"], gpu=gpu),
        gradient_checkpointing=gpu,
        bf16=gpu,
        use_cpu=not gpu,
        logging_steps=updates,
        save_steps=settings["save_every"] * updates,
        save_total_limit=2,
        seed=settings["seed"],
        data_seed=settings["seed"],
        report_to="none",
        disable_tqdm=True,
    )


if __name__ == "__main__":
    train(start(sys.argv))
