"""SAM 2's memory: a mask followed from slice to slice as the original's video predictor follows it from frame to frame.

transformers has a loop of its own for this (5.17). It makes the key slice's object pointer of the best of three masks,
where the original asks for one, and remembers the given mask at another resolution, so that its masks differ. Here are
the same layers in the original's order, for one object and one direction, and what is remembered is bounded.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from medreasoner_monai.segmenters.sam2_layers import Features, decode, enlarge

# Logits of a mask that is given are this or minus this; where the object is not, they are the second.
_GIVEN, _ABSENT = 10.0, -1024.0
# The base of the sine encoding of distances.
_TEMPERATURE = 10000
# The original keeps memories rounded to this.
_KEPT = torch.bfloat16


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """Of one slice: features with the mask in them, ``(h w, 1, 64)``, bfloat16; and the object pointer ``(1, 256)``."""

    features: Tensor
    pointer: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Tracked:
    """The mask on one slice.

    Attributes
    ----------
    logits:
        ``(1, 1, 4 h, 4 w)``, at the decoder's own resolution.
    quality:
        The overlap (IoU) with the true mask that the model expects, in [0, 1].
    score:
        Above 0 where the model sees the object at all.
    """

    logits: Tensor
    quality: float
    score: float


class Memory:
    """What the model knows of an object on the slices behind it, on its way in one direction.

    Parameters
    ----------
    model:
        A ``Sam2VideoModel``.
    count:
        How many slices the series has: where there are few, the model counts distances in proportion to it.
    key:
        What :func:`first` gave for the slice on which the mask is given.
    """

    def __init__(self, model: Any, count: int, key: Remembered) -> None:
        self.model, self.key, self.distance = model, key, 0
        self.reach = max(min(count, model.config.max_object_pointers_in_encoder) - 1, 1)
        self.features: deque[Tensor] = deque(maxlen=model.num_maskmem - 1)
        self.pointers: deque[Tensor] = deque(maxlen=self.reach)

    def follow(self, seen: Features) -> Tracked:
        """The object's mask on the next slice, which is then remembered."""
        self.distance += 1
        found = decode(self.model, self._reminded(seen), *_no_point(seen), several=True)
        best = int(found.quality[0].argmax())
        score = float(found.score[0])
        logits = found.logits[:, best : best + 1]
        if score <= 0:
            logits = torch.full_like(logits, _ABSENT)
        pointer = _pointer(self.model, found.tokens[:, best], score > 0)
        weights = torch.sigmoid(enlarge(logits, _input_size(self.model)))
        self.features.append(_with_mask(self.model, seen, weights, score > 0))
        self.pointers.append(pointer)
        return Tracked(logits, float(found.quality[0, best]), score)

    def _reminded(self, seen: Features) -> Features:
        """The slice's features after they have looked at the memories."""
        model, (h, w) = self.model, seen.coarse.shape[-2:]
        # The key slice has a place in time of its own, whatever its distance; the others have theirs by distance.
        places = [model.num_maskmem - 1, *reversed(range(len(self.features)))]
        where = _positions(model.memory_encoder.position_encoding, (1, model.mem_dim, h, w), seen.coarse.device)
        times = [where + model.memory_temporal_positional_encoding[place] for place in places]
        tokens, token_times = self._pointer_tokens()
        coarse = model.memory_attention(
            _flat(seen.coarse),
            torch.cat([*(f.float() for f in (self.key.features, *self.features)), tokens]),
            _positions(model.vision_encoder.neck.position_encoding, tuple(seen.coarse.shape), seen.coarse.device),
            torch.cat([*times, token_times]),
            len(tokens),
        )
        return Features(seen.fine, seen.middle, coarse.reshape(1, h, w, -1).permute(0, 3, 1, 2))

    def _pointer_tokens(self) -> tuple[Tensor, Tensor]:
        """Object pointers, cut into tokens as wide as the memories, and their places in time; both ``(n, 1, 64)``."""
        model = self.model
        # The nearest first, after the key slice's.
        found = torch.stack([self.key.pointer, *reversed(self.pointers)])
        away = [self.distance, *range(1, len(self.pointers) + 1)]
        parts = found.shape[-1] // model.mem_dim
        tokens = found.reshape(-1, 1, model.mem_dim)
        if not model.config.enable_temporal_pos_encoding_for_object_pointers:  # SAM 2, before 2.1
            return tokens, torch.zeros_like(tokens)
        waves = _sines([d / self.reach for d in away], found.shape[-1], found.device)
        times = model.temporal_positional_encoding_projection_layer(waves)
        return tokens, times[:, None].repeat_interleave(parts, dim=0)


def first(model: Any, seen: Features, mask: Tensor) -> Remembered:
    """What is remembered of the slice on which the mask is given.

    Parameters
    ----------
    seen:
        The slice's features.
    mask:
        0 and 1, ``(1, 1, side, side)`` at the size that the encoder sees.
    """
    there = bool(mask.any())
    found = decode(model, seen, *_no_point(seen), mask=model.mask_downsample(mask))
    pointer = _pointer(model, found.tokens[:, 0], there and float(found.score[0]) > 0)
    # The original keeps the mask at the decoder's resolution, and remembers what is left of it there.
    h, w = seen.fine.shape[-2:]
    coarse = F.interpolate(2 * _GIVEN * mask - _GIVEN, (h, w), mode="bilinear", align_corners=False, antialias=True)
    weights = (enlarge(coarse, _input_size(model)) > 0).float()
    return Remembered(_with_mask(model, seen, weights, there), pointer)


def _with_mask(model: Any, seen: Features, weights: Tensor, there: bool) -> Tensor:
    """Features with a mask in them; ``weights``: how much each pixel belongs, ``(1, 1, side, side)`` in [0, 1]."""
    scaled = weights * model.config.sigmoid_scale_for_mem_enc + model.config.sigmoid_bias_for_mem_enc
    features, _ = model.memory_encoder(seen.coarse, scaled)
    mark = model.occlusion_spatial_embedding_parameter
    if mark is not None and not there:
        features = features + mark[..., None, None]
    return _flat(features).to(_KEPT)


def _pointer(model: Any, token: Tensor, there: bool) -> Tensor:
    pointer: Tensor = model.object_pointer_proj(token) if there else model.no_object_pointer
    return pointer


def _no_point(seen: Features) -> tuple[Tensor, Tensor]:
    """A prompt of no point, and its label."""
    device = seen.coarse.device
    return torch.zeros(1, 1, 2, device=device), torch.full((1, 1), -1, dtype=torch.int32, device=device)


def _input_size(model: Any) -> tuple[int, int]:
    """Rows and columns that the encoder sees."""
    side = model.prompt_encoder.input_image_size
    return side, side


def _flat(features: Tensor) -> Tensor:
    """``(1, c, h, w)`` to ``(h w, 1, c)``."""
    return features.flatten(2).permute(2, 0, 1)


def _positions(encoding: Any, shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Where features of a shape ``(1, c, h, w)`` are in the picture: ``(h w, 1, c)``."""
    return _flat(encoding(torch.Size(shape), device, torch.float32))


def _sines(values: Sequence[float], width: int, device: torch.device) -> Tensor:
    """Sines, then cosines, of ``n`` values at falling frequencies: ``(n, width)``."""
    half = width // 2
    period = _TEMPERATURE ** (2 * torch.div(torch.arange(half, device=device), 2, rounding_mode="floor") / half)
    angles = torch.tensor(values, dtype=torch.float32, device=device)[:, None] / period
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
