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
from medreasoner_monai.training.observe import observe
from medreasoner_monai.training.worker import Report, last_checkpoint, load_model, start


def train(job: dict[str, Any]) -> None:
    """Fine-tune ``job["model"]`` on ``job["train"]`` and save the model into ``job["out"]``."""
    settings, folder = job["settings"], Path(job["folder"])
    gpu = torch.cuda.is_available()
    processor = load_processor(Path(job["model"]))
    checkpoint = last_checkpoint(folder / "checkpoints")
    # Resumed weights are loaded here: the trainer's own loading does not map the names that a Qwen2.5-VL is saved
    # under to those of its modules, passes all of them over with a warning, and would go on from the first weights.
    model = load_model(checkpoint or job["model"], gpu=gpu, freeze_vision=settings["freeze_vision"])
    args = SFTConfig(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings["steps"],
        per_device_train_batch_size=settings["batch"],
        learning_rate=settings["learning_rate"],
        warmup_steps=settings["warmup_steps"],
        weight_decay=settings["weight_decay"],
        adam_beta2=0.99,
        **schedule(settings["schedule"], settings["final_rate"]),
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
        remove_unused_columns=False,  # the rows are made when they are used
        disable_tqdm=True,
    )
    data = training_set(Path(job["train"]), processor, template(job["prompt"]))
    trainer = SFTTrainer(
        model=model, args=args, train_dataset=data, processing_class=processor, callbacks=[Report(folder)]
    )
    observe(trainer, folder)
    trainer.train(resume_from_checkpoint=checkpoint)
    out = Path(job["out"])
    model.save_pretrained(out)
    processor.save_pretrained(out)


def schedule(name: str, final_rate: float) -> dict[str, Any]:
    """Transformers' arguments for a schedule."""
    if name == "cosine" and final_rate:
        return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": final_rate}}
    return {"lr_scheduler_type": name}


if __name__ == "__main__":
    train(start(sys.argv))
