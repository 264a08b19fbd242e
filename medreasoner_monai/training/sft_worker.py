"""The cold start's own process, one a rank: supervised fine-tuning with TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.settings.training import ColdStartSettings
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.arguments import lora_config, sft_arguments
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.deepspeed import prepare
from medreasoner_monai.training.observe import observe
from medreasoner_monai.training.stopping import Stop
from medreasoner_monai.training.validation import Undisturbed, ValidateLast, has_rows
from medreasoner_monai.training.worker import (
    Job,
    Report,
    last_checkpoint,
    load_model,
    main,
    reached,
    single_process_group,
)


class Trainer(Undisturbed, SFTTrainer):
    """TRL's, with validation apart."""


def train(job: Job) -> None:
    """Fine-tune ``job["model"]`` on ``job["train"]``; checkpoints lie in ``job["folder"]``."""
    settings, folder = ColdStartSettings(**job["settings"]), Path(job["folder"])
    gpu = torch.cuda.is_available()
    if settings.deepspeed:
        single_process_group()
        prepare(gpu=gpu)
    processor, prompt = load_processor(Path(job["model"])), template(job["prompt"])
    validated = settings.validate_samples > 0 and has_rows(Path(job["val"]))
    # Before the model: ZeRO-3 shards it while it is loaded.
    args = SFTConfig(**sft_arguments(settings, folder, gpu=gpu, validated=validated))
    checkpoint = last_checkpoint(folder / "checkpoints")
    if reached(checkpoint, args.max_steps):
        return
    # Resumed weights are loaded here: the plain trainer's own loading does not map the names that a Qwen2.5-VL is saved
    # under to those of its modules, passes all of them over with a warning, and would go on from the first weights.
    # DeepSpeed and PEFT save under the modules' names and load by themselves.
    itself = settings.deepspeed is None and settings.lora is None
    model = load_model(
        checkpoint if itself and checkpoint else job["model"],
        gpu=gpu,
        freeze_vision=settings.freeze_vision,
        attention=job["attention"],
        half=not itself,
    )
    options: dict[str, Any] = {}
    if validated:
        options["eval_dataset"] = training_set(Path(job["val"]), processor, prompt, limit=settings.validate_samples)
    if settings.lora:
        options["peft_config"] = lora_config(settings.lora)
    trainer = Trainer(
        model=model,
        args=args,
        train_dataset=training_set(Path(job["train"]), processor, prompt, seed=settings.seed, augment=settings.augment),
        processing_class=processor,
        callbacks=[Report(folder), ValidateLast(), Stop(folder)],
        **options,
    )
    observe(trainer, folder)
    trainer.train(resume_from_checkpoint=checkpoint)


if __name__ == "__main__":
    main(train)
