"""What the vision warm-up is asked: per picture the cover of its image tokens, the numbers of its box and points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.reasoners.folder import seen_frame
from medreasoner_monai.reasoners.starter import number_code
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.task.geometry import convert
from medreasoner_monai.training.augment import shrunk, view
from medreasoner_monai.training.dataset import model_picture

WAVELENGTHS = 4
NUMBERS = 8


class Views:
    """Other views of the training pictures, made when they are asked for; the same number gives the same view."""

    def __init__(
        self,
        samples: Sequence[Sample],
        processor: Any,
        cells: int,
        names: Sequence[str],
        settings: AugmentSettings,
        seed: int,
    ) -> None:
        side = 2 * processor.image_processor.size["longest_edge"] ** 0.5
        self.samples = [shrunk(sample, side) for sample in samples]
        self.processor, self.cells, self.names, self.settings, self.seed = processor, cells, names, settings, seed

    def __len__(self) -> int:
        return len(self.samples) * self.settings.views

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        sample = view(self.samples[number % len(self.samples)], self.settings, rng, worded=False)
        return targets([sample], self.processor, self.cells, self.names)[0]


def targets(samples: Sequence[Sample], processor: Any, cells: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Samples as :class:`TowerWithHeads` takes them; ``names`` are the categories in the order of its outputs."""
    images = processor.image_processor
    side = images.size["longest_edge"] ** 0.5
    out = []
    for first in range(0, len(samples), 256):
        part = samples[first : first + 256]
        frames = [seen_frame(processor, s.frame) for s in part]
        # Already in the model's frame there are few sizes among them, which the processor takes as few batches.
        pictures = [model_picture(s.image, frame) for s, frame in zip(part, frames, strict=True)]
        inputs = images(images=pictures, return_tensors="pt")
        grids = inputs["image_grid_thw"]
        patches = torch.split(inputs["pixel_values"], grids.prod(dim=1).tolist())
        for sample, frame, grid, pixels in zip(part, frames, grids, patches, strict=True):
            values = torch.zeros(NUMBERS)
            if sample.truth is not None:
                box, points = convert(sample.truth[0], frame), convert(sample.truth[1], frame)
                values = torch.tensor([*box.xyxy, *points.first, *points.second])
            out.append(
                {
                    "pixel_values": pixels,
                    "image_grid_thw": grid[None],
                    "cover": cover(sample, int(grid[1]) // images.merge_size, int(grid[2]) // images.merge_size, cells),
                    "numbers": number_code(values, side=side, shortest=24, count=WAVELENGTHS).flatten(),
                    "category": names.index(sample.category),
                    "present": float(sample.present),
                }
            )
    return out


def cover(sample: Sample, rows: int, cols: int, cells: int) -> Tensor:
    """How much of each cell the mask covers: ``(rows * cols, cells * cells)``, one row an image token."""
    mask = torch.from_numpy(sample.mask)[None, None].float()
    shares = F.interpolate(mask, size=(rows * cells, cols * cells), mode="area")[0, 0]
    return shares.view(rows, cells, cols, cells).permute(0, 2, 1, 3).reshape(rows * cols, cells * cells)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pictures of different sizes side by side, as the tower takes them."""
    lengths = torch.tensor([len(i["cover"]) for i in items])
    return {
        **{n: torch.cat([i[n] for i in items]) for n in ("pixel_values", "image_grid_thw", "cover")},
        "numbers": torch.stack([i["numbers"] for i in items]),
        "category": torch.tensor([i["category"] for i in items]),
        "present": torch.tensor([i["present"] for i in items]),
        "picture": torch.repeat_interleave(torch.arange(len(items)), lengths),
    }
