"""Other views of a training picture: shifted, zoomed, a little turned, with other contrast; never mirrored.

Mirroring would exchange left and right, in the picture but not in the question. A view keeps what its sample's texts
say: the target stays in the same ninth of the picture, of the same size in words, and (nearly) whole; where no drawn
change does that, only grey values change.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from medreasoner_monai.data.describe import place_words, size_word
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.settings.training import AugmentSettings
from medreasoner_monai.task.keypoints import key_points, mask_box

_TRIES = 6
_LEFT_IN = 0.95
"""Share of a target that a view has to show."""


@dataclass(frozen=True)
class Change:
    """A change of place: x' = centre + zoom · R(turn) · (x - centre) + shift, in pixels.

    Attributes
    ----------
    turn:
        Degrees, clockwise in the picture.
    zoom:
        Above 1 enlarges.
    shift:
        To the right and down, as shares of width and height.
    """

    turn: float = 0.0
    zoom: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def draw(cls, settings: AugmentSettings, rng: np.random.Generator) -> Change:
        """A change within the settings' limits."""
        return cls(
            float(rng.uniform(-settings.turn, settings.turn)),
            math.exp(float(rng.uniform(-1, 1)) * math.log(settings.zoom)),
            (float(rng.uniform(-settings.shift, settings.shift)), float(rng.uniform(-settings.shift, settings.shift))),
        )

    def image(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """A picture ``(rows, cols)`` or ``(rows, cols, 3)``, uint8, black beyond its edges."""
        moved: NDArray[np.uint8] = self._warp(image, v2.InterpolationMode.BILINEAR)
        return moved

    def mask(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """A mask ``(rows, cols)``."""
        return self._warp(mask.astype(np.uint8), v2.InterpolationMode.NEAREST).astype(bool)

    def _warp(self, array: NDArray[Any], how: v2.InterpolationMode) -> NDArray[Any]:
        rows, cols = array.shape[:2]
        planes = torch.from_numpy(np.ascontiguousarray(np.atleast_3d(array).transpose(2, 0, 1)))
        shift = [self.shift[0] * cols, self.shift[1] * rows]
        moved = tv.affine(planes, self.turn, shift, self.zoom, [0.0, 0.0], interpolation=how).numpy()
        made: NDArray[Any] = moved[0] if array.ndim == 2 else moved.transpose(1, 2, 0)
        return made


def view(sample: Sample, settings: AugmentSettings, rng: np.random.Generator, *, worded: bool) -> Sample:
    """Another view of one sample, see :func:`views`."""
    (made,) = views([sample], settings, rng, worded=worded)
    return made


def views(
    samples: Sequence[Sample], settings: AugmentSettings, rng: np.random.Generator, *, worded: bool
) -> list[Sample]:
    """Another view of a picture, for all samples that share it.

    Parameters
    ----------
    worded:
        Whether the samples' texts are used with it, and must stay true.
    """
    image = recolour(samples[0].image, settings, rng)
    for _ in range(_TRIES):
        change = Change.draw(settings, rng)
        masks = [change.mask(s.mask) if s.present else s.mask for s in samples]
        if all(_stays(s, mask, change, worded) for s, mask in zip(samples, masks, strict=True)):
            image = change.image(image)
            return [
                replace(s, image=image, mask=mask, box=mask_box(mask), points=key_points(mask))
                if s.present
                else replace(s, image=image)
                for s, mask in zip(samples, masks, strict=True)
            ]
    return [replace(s, image=image) for s in samples]


def _stays(sample: Sample, moved: NDArray[np.bool_], change: Change, worded: bool) -> bool:
    """Whether a target is still whole, and what is said of it still true."""
    if not sample.present:
        return True
    if moved.sum() < _LEFT_IN * sample.mask.sum() * change.zoom**2:
        return False  # cut off by the edge
    return not worded or _same_words(sample.mask, moved)


def shrunk(sample: Sample, side: float) -> Sample:
    """A sample whose picture has at most ``side`` pixels a side, so that views of it are quick to make."""
    rows, cols = sample.image.shape[:2]
    factor = side / max(rows, cols)
    if factor >= 1:
        return sample
    size = (max(1, round(cols * factor)), max(1, round(rows * factor)))
    image: NDArray[np.uint8] = cv2.resize(sample.image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    if not sample.present:
        return replace(sample, image=image, mask=np.zeros(image.shape[:2], dtype=bool))
    shares = cv2.resize(sample.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mask = shares >= min(0.5, float(shares.max()))  # however small, some of it stays
    return replace(sample, image=image, mask=mask, box=mask_box(mask), points=key_points(mask))


def recolour(image: NDArray[np.uint8], settings: AugmentSettings, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Other contrast, brightness and gamma, the same in all channels, and noise."""
    contrast = math.exp(float(rng.uniform(-1, 1)) * settings.contrast)
    gamma = math.exp(float(rng.uniform(-1, 1)) * settings.contrast)
    table = np.linspace(0, 1, 256) ** gamma
    table = (table - 0.5) * contrast + 0.5 + float(rng.uniform(-1, 1)) * settings.brightness
    values = np.clip(table * 255, 0, 255).astype(np.float32)[image]
    if settings.noise:
        values += rng.normal(0, float(rng.uniform(0, settings.noise)) * 255, image.shape[:2] + (1,) * (image.ndim - 2))
    return np.clip(values, 0, 255).astype(np.uint8)


def _same_words(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> bool:
    """Whether a trace would call place and size of both masks the same."""
    places = [place_words(mask_box(m).xyxy, (m.shape[0], m.shape[1])) for m in (before, after)]
    sizes = [size_word(float(m.mean())) for m in (before, after)]
    return places[0] == places[1] and sizes[0] == sizes[1]
