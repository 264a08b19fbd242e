"""What the vision warm-up is asked: per target the cover of its picture's tokens, the numbers of its box and points."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.reasoners.folder import seen_frame
from medreasoner_monai.reasoners.starter import number_code
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.task.geometry import Frame, convert
from medreasoner_monai.training.augment import shrunk, views
from medreasoner_monai.training.dataset import model_picture

WAVELENGTHS = 4
NUMBERS = 8


Shown = Sequence[Sample]
"""One picture and the targets it was asked for: samples that share their image."""


def together(samples: Sequence[Sample]) -> list[Shown]:
    """Samples picture by picture, in the order in which pictures are first met.

    A picture goes through the tower once for all its targets. Other wordings of one question ask nothing new of the
    tower and are left out.
    """
    found: dict[bytes, dict[bytes, Sample]] = {}
    for sample in samples:
        image = hashlib.sha256(repr(sample.image.shape).encode() + np.ascontiguousarray(sample.image).data).digest()
        asked = hashlib.sha256(sample.category.encode() + np.packbits(sample.mask).data).digest()
        found.setdefault(image, {}).setdefault(asked, sample)
    return [tuple(shown.values()) for shown in found.values()]


class Views:
    """Other views of the training pictures, made when they are asked for; the same number gives the same view."""

    def __init__(
        self,
        pictures: Sequence[Shown],
        processor: Any,
        cells: int,
        names: Sequence[str],
        settings: AugmentSettings,
        seed: int,
    ) -> None:
        side = 2 * processor.image_processor.size["longest_edge"] ** 0.5
        self.pictures = [[shrunk(sample, side) for sample in shown] for shown in pictures]
        for shown in self.pictures:
            shown[1:] = [replace(sample, image=shown[0].image) for sample in shown[1:]]  # held once
        self.processor, self.cells, self.names, self.settings, self.seed = processor, cells, names, settings, seed

    def __len__(self) -> int:
        return len(self.pictures) * self.settings.views

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        shown = views(self.pictures[number % len(self.pictures)], self.settings, rng, worded=False)
        return targets([shown], self.processor, self.cells, self.names)[0]


def targets(pictures: Sequence[Shown], processor: Any, cells: int, names: Sequence[str]) -> list[dict[str, Any]]:
    """Pictures as :class:`TowerWithHeads` takes them; ``names`` are the categories in the order of its outputs.

    Each has its patches, and for its k targets ``cover`` ``(k, tokens, cells * cells)``, ``numbers`` ``(k, codes)``,
    ``category`` and ``present`` ``(k,)``.
    """
    images = processor.image_processor
    side = images.size["longest_edge"] ** 0.5
    out = []
    for first in range(0, len(pictures), 256):
        part = pictures[first : first + 256]
        frames = [seen_frame(processor, shown[0].frame) for shown in part]
        # Already in the model's frame there are few sizes among them, which the processor takes as few batches.
        seen = [model_picture(shown[0].image, frame) for shown, frame in zip(part, frames, strict=True)]
        inputs = images(images=seen, return_tensors="pt")
        grids = inputs["image_grid_thw"]
        patches = torch.split(inputs["pixel_values"], grids.prod(dim=1).tolist())
        for shown, frame, grid, pixels in zip(part, frames, grids, patches, strict=True):
            rows, cols = int(grid[1]) // images.merge_size, int(grid[2]) // images.merge_size
            out.append(
                {
                    "pixel_values": pixels,
                    "image_grid_thw": grid[None],
                    "cover": torch.stack([cover(s, rows, cols, cells) for s in shown]),
                    "numbers": torch.stack([_numbers(s, frame, side) for s in shown]),
                    "category": torch.tensor([names.index(s.category) for s in shown]),
                    "present": torch.tensor([float(s.present) for s in shown]),
                }
            )
    return out


def _numbers(sample: Sample, frame: Frame, side: float) -> Tensor:
    """The codes of the target's box and points in the model's frame; of nothing where it is absent."""
    values = torch.zeros(NUMBERS)
    if sample.truth is not None:
        box, points = convert(sample.truth[0], frame), convert(sample.truth[1], frame)
        values = torch.tensor([*box.xyxy, *points.first, *points.second])
    return number_code(values, side=side, shortest=24, count=WAVELENGTHS).flatten()


def cover(sample: Sample, rows: int, cols: int, cells: int) -> Tensor:
    """How much of each cell the mask covers: ``(rows * cols, cells * cells)``, one row an image token."""
    mask = torch.from_numpy(sample.mask)[None, None].float()
    shares = F.interpolate(mask, size=(rows * cells, cols * cells), mode="area")[0, 0]
    return shares.view(rows, cells, cols, cells).permute(0, 2, 1, 3).reshape(rows * cols, cells * cells)


def collate(items: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pictures of different sizes side by side, as the tower takes them.

    Each target looks at all tokens of its picture: ``token`` is which ones, row by row of ``cover``, and ``target``
    whose row it is.
    """
    tokens, owners, first, number = [], [], 0, 0
    for item in items:
        count, length, _ = item["cover"].shape
        tokens.append(torch.arange(first, first + length).repeat(count))
        owners.append(torch.arange(number, number + count).repeat_interleave(length))
        first, number = first + length, number + count
    return {
        **{n: torch.cat([i[n] for i in items]) for n in ("pixel_values", "image_grid_thw")},
        "cover": torch.cat([i["cover"].flatten(0, 1) for i in items]),
        **{n: torch.cat([i[n] for i in items]) for n in ("numbers", "category", "present")},
        "token": torch.cat(tokens),
        "target": torch.cat(owners),
    }
