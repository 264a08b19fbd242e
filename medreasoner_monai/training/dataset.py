"""A curated split as TRL takes it: prompt, image, completion, and the ground truth in the frame the model sees."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medreasoner_monai.data.sample import Sample, Truth
from medreasoner_monai.data.schema import SCHEMA, from_row, read_task, truth_json
from medreasoner_monai.reasoners.folder import seen_frame
from medreasoner_monai.reasoners.hf import as_rgb
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.task.answer import render, render_nothing
from medreasoner_monai.task.geometry import Box, Frame, Points, convert
from medreasoner_monai.task.prompts import Template
from medreasoner_monai.training.augment import shrunk, view

KEPT_BYTES = 2**30
_PLACE = "place"
"""The column that numbers a split's rows."""


def model_picture(image: Any, seen: Frame) -> Image.Image:
    """A stored picture in RGB, resized to the model's frame as the processor would resize it."""
    return Image.fromarray(as_rgb(image)).resize((seen.width, seen.height), Image.Resampling.BICUBIC)


def training_row(row: dict[str, Any], processor: Any, prompt: Template, *, answered: bool = True) -> dict[str, Any]:
    """A row of a split as a row for the trainers.

    ``prompt`` and ``completion`` (if ``answered``) are conversations, ``images`` holds one RGB picture that
    the processor brings to the model's frame (most are in it already), ``ground_truth`` is JSON in that frame. Where
    the image does not show the target, the completion says so, and the ground truth is null.
    """
    image, question, stored = read_task(row, "training split")
    info = row["extra_info"]
    trace = info["trace"] if answered and prompt.think else None
    return _shown(processor, prompt, image, question, stored, str(info["id"]), trace, answered)


def _shown(
    processor: Any,
    prompt: Template,
    image: NDArray[np.uint8],
    question: str,
    stored: Truth | None,
    name: str,
    trace: str | None,
    answered: bool,
) -> dict[str, Any]:
    seen = seen_frame(processor, Frame(image.shape[1], image.shape[0], "stored"))
    # The processor resizes what it gets: a long thin picture a second time, to yet another frame.
    settled = seen_frame(processor, seen) == seen
    shown = model_picture(image, seen) if settled else Image.fromarray(as_rgb(image))
    truth = None if stored is None else (convert(stored[0], seen), convert(stored[1], seen))
    made = {
        "prompt": prompt.plain(question),
        "images": [shown],
        "ground_truth": truth_json(truth),
        "frame_width": seen.width,
        "frame_height": seen.height,
        "id": name,
    }
    if answered:
        made["completion"] = [{"role": "assistant", "content": answer_text(trace, truth)}]
    return made


def answer_text(trace: str | None, truth: Truth | None) -> str:
    """The completion to learn: with the true region, or saying that there is nothing to find."""
    return render_nothing(trace) if truth is None else render(trace, *truth)


def row_truth(row: dict[str, Any]) -> Truth | None:
    """Box and points of a training row, in the model's frame.

    None where there is nothing to find, or the target has no area in whole pixels of that frame.
    """
    values = json.loads(row["ground_truth"])
    if values["bbox_2d"] is None:
        return None
    frame = Frame(int(row["frame_width"]), int(row["frame_height"]), "model")
    x1, y1, x2, y2 = values["bbox_2d"]
    (ax, ay), (bx, by) = values["point_2d"]
    try:
        return Box(x1, y1, x2, y2, frame), Points((ax, ay), (bx, by), frame)
    except ValueError:
        return None


class _View:
    """Makes training rows when they are asked for, and keeps them while they are few enough to be kept."""

    def __init__(
        self, processor: Any, prompt: Template, answered: bool, augment: AugmentSettings | None, seed: int
    ) -> None:
        self.processor, self.prompt, self.answered = processor, prompt, answered
        self.augment, self.seed = augment, seed
        self.side = 2 * processor.image_processor.size["longest_edge"] ** 0.5
        self.samples: dict[str, Sample] = {}
        self.kept: dict[int, dict[str, Any]] = {}
        self.room = KEPT_BYTES

    def __call__(self, batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [self.row(dict(zip(batch, values, strict=True))) for values in zip(*batch.values(), strict=True)]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def row(self, stored: dict[str, Any]) -> dict[str, Any]:
        place = stored.pop(_PLACE)
        if self.augment is not None:
            return self._view(stored, place, self.augment)
        if place in self.kept:
            return self.kept[place]
        made = training_row(stored, self.processor, self.prompt, answered=self.answered)
        size = 3 * made["frame_width"] * made["frame_height"]
        if size <= self.room:
            self.kept[place] = made
            self.room -= size
        return made

    def _view(self, stored: dict[str, Any], place: int, augment: AugmentSettings) -> dict[str, Any]:
        name = str(stored["extra_info"]["id"])
        sample = self.samples.get(name)
        if sample is None:
            sample = shrunk(from_row(stored, "training split"), self.side)
            if sample.image.nbytes + sample.mask.nbytes <= self.room:
                self.samples[name] = sample
                self.room -= sample.image.nbytes + sample.mask.nbytes
        other = view(sample, augment, np.random.default_rng([self.seed, place]), worded=True)
        trace = sample.trace if self.answered and self.prompt.think else None
        return _shown(
            self.processor, self.prompt, other.image, sample.question, other.truth, name, trace, self.answered
        )


def training_set(
    split: Path,
    processor: Any,
    prompt: Template,
    *,
    answered: bool = True,
    limit: int | None = None,
    seed: int = 0,
    augment: AugmentSettings | None = None,
) -> Any:
    """A ``datasets.Dataset`` over a split, whose rows are made as :func:`training_row` says when they are used.

    Parameters
    ----------
    split:
        A curated parquet file.
    answered:
        With ``completion``, for the cold start.
    limit:
        Only so many of its rows, drawn by ``seed``.
    augment:
        Give ``views`` of each row in place of the row itself; the same place in the set gives the same view.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset
    from datasets.table import InMemoryTable

    columns = [name for name in SCHEMA.names if name != "masks" or augment is not None]
    table = pq.read_table(split, columns=columns)
    if augment is not None:
        table = pa.concat_tables([table] * augment.views)  # refers to the same rows, copies nothing
    data = Dataset(InMemoryTable(table.append_column(_PLACE, pa.array(range(len(table))))))
    if limit is not None and limit < len(data):
        data = data.select(random.Random(seed).sample(range(len(data)), limit))
    return data.with_transform(_View(processor, prompt, answered, augment, seed))
