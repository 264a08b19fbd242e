"""A bundle that answers: a tiny model of the real class, taught one sentence by heart."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from medreasoner_monai.bundle.packaging import package_bundle
from medreasoner_monai.reasoners.folder import write_note
from medreasoner_monai.reasoners.hf import as_rgb
from medreasoner_monai.reasoners.starter import build
from medreasoner_monai.settings.starter import StarterSettings
from medreasoner_monai.task.answer import render
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.prompts import template

SIDE = 112
"""Pixels: the side to which the model's processor brings a square picture."""
BOX = (28, 28, 84, 84)
POINTS = ((48, 48), (64, 60))
TRACE = "The bright part lies in the middle."
QUESTION = "Which part is bright?"
STEPS = 150
PROMPT = "brief"


def answering_bundle(folder: Path) -> Path:
    """A bundle whose model answers any picture and question with :data:`BOX` and :data:`POINTS` of a square."""
    frame = Frame(SIDE, SIDE, "model")
    text = render(TRACE, Box(*BOX, frame), Points(*POINTS, frame))
    build(folder / "model", [f"{QUESTION}\n{text}"], _small())
    _teach(folder / "model", text)
    package_bundle(folder / "model", folder / "bundle", {"version": "9.9.9"})
    return folder / "bundle"


def silent_bundle(folder: Path) -> Path:
    """A bundle whose model was never trained: it answers nothing readable."""
    build(folder / "model", [QUESTION], _small())
    package_bundle(folder / "model", folder / "bundle", {})
    return folder / "bundle"


def _small() -> StarterSettings:
    sizes = {
        "hidden_size": 32,
        "layers": 2,
        "heads": 2,
        "vision_hidden_size": 32,
        "vision_layers": 2,
        "vision_heads": 2,
    }
    return StarterSettings(**sizes, vocabulary=700, image_pixels=SIDE * SIDE)


def _teach(folder: Path, text: str) -> None:
    """Train the model until it says ``text`` whatever it is shown and asked."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    from medreasoner_monai.reasoners.folder import load_processor

    processor = load_processor(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        pictures = [as_rgb(rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) // (1 + i)) for i in range(4)]
        question = QUESTION if step % 2 else "What is that?"
        prompt = processor.apply_chat_template(
            template(PROMPT).messages(question), add_generation_prompt=True, tokenize=False
        )
        batch = processor(images=pictures, text=[f"{prompt}{text}<|im_end|>"] * 4, padding=True, return_tensors="pt")
        said = len(processor.tokenizer(f"{text}<|im_end|>")["input_ids"])
        labels = batch["input_ids"].clone()
        labels[:, :-said] = -100
        loss = model(**batch, labels=labels).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.05, f"the model has not learnt its sentence: loss {loss.item():.3f}"
    model.save_pretrained(folder)
    write_note(folder, prompt=PROMPT)
