"""GRPO's own process, one a rank: TRL's trainer under DeepSpeed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from trl import GRPOConfig, GRPOTrainer

from medreasoner_monai.config_training import GrpoSettings
from medreasoner_monai.prompts import template
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.rewards import RewardSuite, suite
from medreasoner_monai.training.arguments import grpo_arguments, lora_config
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.deepspeed import prepare
from medreasoner_monai.training.launch import COMPLETIONS
from medreasoner_monai.training.pictures_once import see_pictures_once
from medreasoner_monai.training.stopping import Stop
from medreasoner_monai.training.validation import Undisturbed, ValidateLast, has_rows
from medreasoner_monai.training.worker import (
    Job,
    Report,
    last_checkpoint,
    load_model,
    main,
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

    def questions(split: str, limit: int) -> Any:
        path = Path(job[split])
        return training_set(path, processor, prompt, answered=False, limit=limit, seed=settings.seed)

    trainer = Trainer(
        model=load_model(job["model"], gpu=gpu, freeze_vision=settings.freeze_vision, attention=job["attention"]),
        reward_funcs=reward_functions(chosen, folder / COMPLETIONS, every=settings.save_every * settings.updates),
        args=args,
        train_dataset=questions("train", settings.steps * settings.prompts),
        eval_dataset=questions("val", settings.validate_samples) if validated else None,
        processing_class=processor,
        callbacks=[Report(folder), ValidateLast(), Stop(folder, every=settings.updates)],
        peft_config=lora_config(settings.lora) if settings.lora else None,
    )
    for model in (trainer.model, trainer.ref_model):
        if model is not None:
            see_pictures_once(vision_tower(model))
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))


def reward_functions(chosen: RewardSuite, record: Path, *, every: int, keep: int = 4) -> list[Any]:
    """The suite's functions, the first of which also writes down a few completions every so many steps."""
    first, *rest = chosen.functions()

    def recorded(completions: list[Any], trainer_state: Any = None, **columns: Any) -> list[float]:
        values = first(completions, **columns)
        step = trainer_state.global_step if trainer_state is not None else 0
        if (
            step % every == 0
            and not Trainer.validating
            and (trainer_state is None or trainer_state.is_world_process_zero)
        ):
            with record.open("a", encoding="utf-8") as f:
                for completion, sample in list(zip(completions, columns["id"], strict=True))[:keep]:
                    text = completion if isinstance(completion, str) else completion[-1]["content"]
                    f.write(json.dumps({"step": step, "id": sample, "text": text}) + "\n")
        return values

    recorded.__name__ = first.__name__
    return [recorded, *rest]


if __name__ == "__main__":
    main(train)
