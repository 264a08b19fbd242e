"""The cold start's own process: supervised fine-tuning with TRL."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from trl import SFTConfig, SFTTrainer

from medreasoner_monai.prompts import template
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.training.dataset import training_set
from medreasoner_monai.training.worker import Report, last_checkpoint, load_model, start


def train(job: dict[str, Any]) -> None:
    """Fine-tune ``job["model"]`` on ``job["train"]`` and save the model into ``job["out"]``."""
    settings, folder = job["settings"], Path(job["folder"])
    gpu = torch.cuda.is_available()
    processor = load_processor(Path(job["model"]))
    model = load_model(job["model"], gpu=gpu, freeze_vision=settings["freeze_vision"])
    args = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch"],
        learning_rate=settings["learning_rate"],
        warmup_steps=settings["warmup_steps"],
        weight_decay=settings["weight_decay"],
        adam_beta2=0.99,
        lr_scheduler_type=settings["schedule"],
        completion_only_loss=True,
        max_length=None,
        gradient_checkpointing=gpu,
        bf16=gpu,
        use_cpu=not gpu,
        logging_steps=5,
        save_steps=settings["save_every"],
        save_total_limit=2,
        seed=settings["seed"],
        data_seed=settings["seed"],
        report_to="none",
        disable_tqdm=True,
    )
    data = training_set(Path(job["train"]), processor, template(job["prompt"]))
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=data, processing_class=processor, callbacks=[Report(folder)]
    )
    trainer.train(resume_from_checkpoint=last_checkpoint(folder / "checkpoints"))
    out = Path(job["out"])
    model.save_pretrained(out)
    processor.save_pretrained(out)


if __name__ == "__main__":
    train(start(sys.argv))
