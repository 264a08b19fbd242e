"""A curated split as TRL takes it: prompt, image, completion, and the ground truth in the frame the model sees."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL import Image

from medreasoner_monai.answer import render
from medreasoner_monai.data.schema import Sample, from_row, read_rows, truth_json
from medreasoner_monai.geometry import Frame, convert
from medreasoner_monai.prompts import Template
from medreasoner_monai.reasoners.folder import seen_frame
from medreasoner_monai.reasoners.hf import as_rgb


def model_picture(sample: Sample, seen: Frame) -> Image.Image:
    """A sample's picture in RGB, resized to the model's frame as the processor would resize it."""
    return Image.fromarray(as_rgb(sample.image)).resize((seen.width, seen.height), Image.Resampling.BICUBIC)


def training_row(sample: Sample, processor: Any, prompt: Template) -> dict[str, Any]:
    """One sample as a row.

    ``prompt`` and ``completion`` are conversations, ``images`` holds one RGB picture already in the model's frame (so
    that it is resized once and not every epoch), ``ground_truth`` is JSON in that frame.
    """
    seen = seen_frame(processor, sample.frame)
    box, points = convert(sample.box, seen), convert(sample.points, seen)
    return {
        "prompt": prompt.plain(sample.question),
        "completion": [{"role": "assistant", "content": render(sample.trace if prompt.think else None, box, points)}],
        "images": [model_picture(sample, seen)],
        "ground_truth": truth_json(box, points),
        "frame_width": seen.width,
        "frame_height": seen.height,
        "id": sample.id,
    }


def training_set(split: Path, processor: Any, prompt: Template, *, limit: int | None = None, seed: int = 0) -> Any:
    """A ``datasets.Dataset`` of a split, in memory, pictures decoded when they are used.

    With ``limit``, so many of its samples, drawn by ``seed``: what a short training never reaches is not prepared.
    """
    from datasets import Dataset, Features, List, Value
    from datasets import Image as ImageFeature

    message = {"role": Value("string"), "content": Value("string")}
    features = Features(
        {
            "prompt": List(message),
            "completion": List(message),
            "images": List(ImageFeature()),
            "ground_truth": Value("string"),
            "frame_width": Value("int32"),
            "frame_height": Value("int32"),
            "id": Value("string"),
        }
    )
    rows = list(read_rows(split))
    if limit is not None and limit < len(rows):
        rows = random.Random(seed).sample(rows, limit)
    samples = (from_row(row, where) for where, row in rows)
    return Dataset.from_list([training_row(s, processor, prompt) for s in samples], features=features)
