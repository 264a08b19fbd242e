"""SAM 2's forward pass through the layers of transformers' ``Sam2Model`` or ``Sam2VideoModel``, as the original's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image as Pictures
from torch import Tensor

from medreasoner_monai.segmenters.protocol import Image, Mask

# Of ImageNet, as the original has them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """What the encoder makes of ``n`` pictures, float32.

    Attributes
    ----------
    fine, middle:
        ``(n, 32, 4 h, 4 w)`` and ``(n, 64, 2 h, 2 w)``, as the mask decoder takes them.
    coarse:
        ``(n, 256, h, w)``, without the mark of a picture that has no memory.
    """

    fine: Tensor
    middle: Tensor
    coarse: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Of ``n`` prompts with ``k`` masks each.

    Attributes
    ----------
    logits:
        ``(n, k, 4 h, 4 w)``; above 0 is the object.
    quality:
        ``(n, k)``: the overlap (IoU) with the true mask that the model expects, in [0, 1].
    tokens:
        ``(n, k, 256)``: what an object pointer is made of; one alone where one mask was asked for.
    score:
        ``(n,)``: above 0 where the object is in the picture at all.
    """

    logits: Tensor
    quality: Tensor
    tokens: Tensor
    score: Tensor


def as_picture(image: Image, side: int) -> Tensor:
    """An image as the original's image predictor sees it: ``(3, side, side)``, resized as real numbers.

    Parameters
    ----------
    image:
        uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
    """
    pixels = torch.tensor(_colour(image)).permute(2, 0, 1).float() / 255
    seen = F.interpolate(pixels[None], (side, side), mode="bilinear", align_corners=False, antialias=True)
    return _normalised(seen[0])


def as_frame(image: Image, side: int) -> Tensor:
    """An image as the original's video predictor sees it: ``(3, side, side)``, resized by cubic splines and rounded."""
    seen = Pictures.fromarray(_colour(image)).resize((side, side), Pictures.Resampling.BICUBIC)
    return _normalised(torch.tensor(np.array(seen)).permute(2, 0, 1).float() / 255)


def as_mask(mask: Mask, side: int) -> Tensor:
    """A mask ``(rows, cols)`` in the frame that the video predictor sees: 0 and 1, ``(1, 1, side, side)``."""
    seen = torch.tensor(mask)[None, None].float()
    if mask.shape == (side, side):
        return seen
    seen = F.interpolate(seen, (side, side), mode="bilinear", align_corners=False, antialias=True)
    # The original has 0.5 alone, at which a mask of few pixels in a large picture would vanish.
    return (seen >= min(0.5, float(seen.max()))).float()


def _colour(image: Image) -> Image:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _normalised(pixels: Tensor) -> Tensor:
    return (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_DEVIATION)[:, None, None]


def encode(model: Any, pixels: Tensor, half: bool) -> Features:
    """Features of pictures ``(n, 3, side, side)``; ``half``: in bfloat16, in which the original was trained."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=half):
        fine, middle, coarse = model.vision_encoder(pixels, return_dict=True).fpn_hidden_states
        fine, middle = model.mask_decoder.conv_s0(fine), model.mask_decoder.conv_s1(middle)
    return Features(fine.float(), middle.float(), coarse.float())


def decode(
    model: Any, seen: Features, points: Tensor, labels: Tensor, mask: Tensor | None = None, several: bool = False
) -> Decoded:
    """Masks of prompts on one picture.

    Parameters
    ----------
    seen:
        Of one picture; ``coarse`` with its mark or its memories added.
    points:
        In pixels of the picture that the encoder sees, ``(n, m, 2)``.
    labels:
        Of each point, ``(n, m)``: 1 on the target, 2 and 3 the upper left and lower right corner of a box, -1 none.
    mask:
        Logits of a prompt, ``(1, 1, 4 h, 4 w)``.
    several:
        Whether to give three masks. If not, one: the model's mask for a clear prompt or, where that is not stable (it
        changes much between thresholds of -0.05 and 0.05), the best of the three.
    """
    tokens, dense = model.prompt_encoder(points[None], labels[None], None, mask)
    logits, quality, states, score = model.mask_decoder(
        image_embeddings=seen.coarse,
        image_positional_embeddings=model.get_image_wide_positional_embeddings(),
        sparse_prompt_embeddings=tokens,
        dense_prompt_embeddings=dense,
        multimask_output=several,
        high_resolution_features=[seen.fine, seen.middle],
    )
    return Decoded(logits[0], quality[0], states[0], score[0, :, 0])


def enlarge(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits ``(n, k, h, w)`` at a size of rows and columns."""
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)
