"""GRPO's own process, one a rank: TRL's trainer under DeepSpeed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.rewards import suite
from medreasoner_monai.settings.training import GrpoSettings
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.arguments import grpo_arguments, lora_config
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.deepspeed import prepare
from medreasoner_monai.training.observe import observe
from medreasoner_monai.training.pictures_once import see_pictures_once
from medreasoner_monai.training.probing import KeepProbe
from medreasoner_monai.training.prompts_once import read_prompts_once
from medreasoner_monai.training.stopping import Stop
from medreasoner_monai.training.validation import Undisturbed, ValidateLast, has_rows
from medreasoner_monai.training.worker import (
    Job,
    Report,
    bare,
    last_checkpoint,
    load_model,
    main,
    reached,
    single_process_group,
    vision_tower,
)


class Trainer(Undisturbed, GRPOTrainer):
    """TRL's, with validation apart."""


def train(job: Job) -> None:
    """Improve ``job["model"]`` by GRPO on ``job["train"]``; checkpoints lie in ``job["folder"]``."""
    settings, folder = GrpoSettings(**job["settings"]), Path(job["folder"])
    gpu = torch.cuda.is_available()
    single_process_group()
    prepare(gpu=gpu)
    processor, prompt = load_processor(Path(job["model"])), template(job["prompt"])
    rewards = settings.rewards
    chosen = suite(rewards.suite, weights=rewards.weights, point_overlap=rewards.point_overlap, think=prompt.think)
    validated = settings.validate_samples > 0 and has_rows(Path(job["val"]))
    # Before the model: ZeRO-3 shards it while it is loaded.
    args = GRPOConfig(**grpo_arguments(settings, chosen, folder, gpu=gpu, validated=validated))
    checkpoint = last_checkpoint(folder / "checkpoints", probed=True)
    if reached(checkpoint, args.max_steps):
        return

    def questions(split: str, limit: int) -> Any:
        path = Path(job[split])
        return training_set(path, processor, prompt, answered=False, limit=limit, seed=settings.seed)

    functions: list[Any] = chosen.functions()
    trainer = Trainer(
        model=load_model(job["model"], gpu=gpu, freeze_vision=settings.freeze_vision, attention=job["attention"]),
        reward_funcs=functions,
        args=args,
        train_dataset=questions("train", settings.steps * settings.prompts),
        eval_dataset=questions("val", settings.validate_samples) if validated else None,
        processing_class=processor,
        callbacks=[Report(folder), ValidateLast(), Stop(folder, every=settings.updates), KeepProbe()],
        peft_config=lora_config(settings.lora) if settings.lora else None,
    )
    for model in (trainer.model, trainer.ref_model):
        if model is not None:
            see_pictures_once(vision_tower(model))
    read_prompts_once(bare(trainer.model))
    observe(trainer, folder, rewards=chosen, every=settings.save_every * settings.updates)
    trainer.train(resume_from_checkpoint=checkpoint)


if __name__ == "__main__":
    main(train)
