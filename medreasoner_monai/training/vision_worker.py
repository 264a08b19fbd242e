"""The vision warm-up's own process: a starter's vision tower learns where things are before it learns to speak.

A 7B model comes with a vision tower that has seen the world; one that starts from nothing would have to learn to see
through the words it is corrected in, which takes hours. Three heads, thrown away afterwards, ask of the image tokens
what the training masks know: how much of each of its cells the target covers, the eight numbers of the target's box and
points, as the same kind of Fourier code that number tokens start with, so that they can be read off later, and of all
tokens together whether the target is there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_model as load_weights
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration, Trainer, TrainingArguments

from medreasoner_monai.data.schema import read_split
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.training.attempt import check_current
from medreasoner_monai.training.throughput import Throughput
from medreasoner_monai.training.vision_data import NUMBERS, WAVELENGTHS, Views, collate, targets, together
from medreasoner_monai.training.worker import Report, last_checkpoint, main, reached

EPSILON = 1e-3


class TowerWithHeads(nn.Module):
    """A vision tower and the three heads; its forward pass returns the loss, as transformers' trainer wants it.

    The cover has one output a category and cell, and only the category asked about is judged: what else is in the
    picture is unknown. The numbers are one output for all: a token tells of what it lies on. Whether the target is
    there is one output per category, of the picture's mean token.
    """

    def __init__(self, tower: nn.Module, width: int, categories: int, cells: int) -> None:
        super().__init__()
        self.tower = tower
        self.categories = categories
        self.cover = nn.Linear(width, categories * cells * cells)
        self.numbers = nn.Linear(width, NUMBERS * 2 * WAVELENGTHS)
        self.there = nn.Linear(width, categories)
        for head in (self.cover, self.numbers, self.there):
            nn.init.normal_(head.weight, std=0.02)
        nn.init.constant_(self.cover.bias, -2.0)

    def forward(
        self,
        pixel_values: Tensor,
        image_grid_thw: Tensor,
        cover: Tensor,
        numbers: Tensor,
        category: Tensor,
        present: Tensor,
        token: Tensor,
        target: Tensor,
    ) -> dict[str, Tensor]:
        """Loss over B targets of some pictures, whose T image tokens each target sees: N pairs of target and token.

        Parameters
        ----------
        cover:
            ``(N, cells * cells)``, the share of each cell that the target covers.
        numbers:
            ``(B, NUMBERS * 2 * WAVELENGTHS)``, the codes of the target's box and points.
        category, present:
            ``(B,)`` what is asked about, and whether it is there, 0 or 1. What is not there has no overlap and no
            numbers to ask for: it covers nothing.
        token, target:
            ``(N,)`` the pairs.
        """
        tokens = self.tower(pixel_values, grid_thw=image_grid_thw).pooler_output
        logits = self.cover(tokens).view(len(tokens), self.categories, -1)[token, category[target]]
        zeros = tokens.new_zeros(len(category))
        found = logits.sigmoid()
        shared = zeros.index_add(0, target, (found * cover).sum(1))
        total = zeros.index_add(0, target, (found + cover).sum(1))
        dice = (2 * shared + EPSILON) / (total + EPSILON)
        # The numbers are asked of the tokens that see the target, by how much they see of it.
        seen = cover.mean(1)
        seen = seen / zeros.index_add(0, target, seen)[target].clamp_min(EPSILON)
        shown = present.sum().clamp_min(1)
        offset = ((self.numbers(tokens)[token] - numbers[target]).pow(2).mean(1) * seen).sum() / shown
        loss = 2 * F.binary_cross_entropy_with_logits(logits, cover)
        loss = loss + ((1 - dice) * present).sum() / shown + 4 * offset
        # Where every target is there, there is nothing to tell apart.
        if shown < len(present):
            loss = loss + F.binary_cross_entropy_with_logits(self._whether(tokens, category, token, target), present)
        return {"loss": loss}

    def _whether(self, tokens: Tensor, category: Tensor, token: Tensor, target: Tensor) -> Tensor:
        """Logits ``(B,)`` of the asked category being there."""
        sums = tokens.new_zeros(len(category), tokens.shape[1]).index_add(0, target, tokens[token])
        means = sums / torch.bincount(target, minlength=len(category))[:, None]
        logits: Tensor = self.there(means).gather(1, category[:, None])[:, 0]
        return logits


def train(job: dict[str, Any]) -> None:
    """Warm up the tower of ``job["model"]`` on ``job["train"]`` and save the whole model into ``job["out"]``."""
    settings, folder = job["settings"], Path(job["folder"])
    gpu = torch.cuda.is_available()
    processor = load_processor(Path(job["model"]))
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(job["model"], local_files_only=True, dtype=torch.float32)
    samples = list(read_split(Path(job["train"])))
    names = sorted({s.category for s in samples})
    augment = settings.get("augment")
    pictures = together(samples)
    data = (
        Views(pictures, processor, settings["cells"], names, AugmentSettings(**augment), settings["seed"])
        if augment
        else targets(pictures, processor, settings["cells"], names)
    )
    torch.manual_seed(settings["seed"])
    vision: Any = model.config.vision_config
    module = TowerWithHeads(model.model.visual, vision.out_hidden_size, len(names), settings["cells"])
    trainer = Trainer(
        model=module,
        args=TrainingArguments(
            output_dir=str(folder / "checkpoints"),
            max_steps=settings["steps"],
            per_device_train_batch_size=settings["batch"],
            learning_rate=settings["learning_rate"],
            adam_beta2=0.99,
            weight_decay=0.01,
            warmup_steps=20,
            lr_scheduler_type="cosine",
            use_cpu=not gpu,
            logging_steps=10,
            save_steps=settings["save_every"],
            save_total_limit=2,
            seed=settings["seed"],
            data_seed=settings["seed"],
            report_to="none",
            remove_unused_columns=False,
            dataloader_num_workers=min(2, os.cpu_count() or 1) if augment else 0,  # making views is half the work
            disable_tqdm=True,
        ),
        train_dataset=data,
        data_collator=collate,
        callbacks=[Report(folder)],
    )
    Throughput(trainer)
    checkpoint = last_checkpoint(folder / "checkpoints")
    if checkpoint is not None and reached(checkpoint, settings["steps"]):
        load_weights(module, Path(checkpoint) / "model.safetensors", strict=True)
    elif settings["steps"]:  # 0 would be taken for "as many as three epochs have"
        trainer.train(resume_from_checkpoint=checkpoint)
    check_current()
    out = Path(job["out"])
    model.save_pretrained(out)
    processor.save_pretrained(out)


if __name__ == "__main__":
    main(train)
