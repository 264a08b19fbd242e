"""What SAM 2's original and our engine are both asked: models, their weights, pictures and prompts, all from formulas.

Imported by the tests and by ``probe_sam2.py``, which runs where the original's package lives; so it needs numpy alone.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layout = dict[str, tuple[int, ...]]
Arrays = dict[str, NDArray[Any]]

_EMBEDDINGS = ("pos_embed", "point_embed", "no_mem_", "no_mask_", "no_obj_", "tpos_enc")

# Prompts on a picture, each with its box (XYXY) and points.
PROMPTS: dict[str, tuple[tuple[float, ...] | None, tuple[tuple[float, float], ...]]] = {
    "box": ((40.5, 30.25, 150, 120), ()),
    "points": (None, ((75, 60), (120.5, 100))),
    "both": ((40.5, 30.25, 150, 120), ((75, 60), (120.5, 100))),
    "lone": (None, ((20, 130),)),
}


@dataclass(frozen=True)
class Case:
    """A model and what it is asked.

    Attributes
    ----------
    release:
        Whose configuration the original starts from: 2.0 or 2.1.
    width, blocks, whole, side:
        See ``sam2_names.Shape``.
    videos:
        Length and key frame of each video.
    presence:
        The last bias of the head that says whether the object is there.
    faint:
        What the logits of the mask for clear prompts are multiplied by: near 0 it is not stable, and another is taken.
    """

    release: str
    width: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, ...]
    side: int
    videos: tuple[tuple[int, int], ...]
    presence: float = 3.0
    faint: float = 1.0


# 20 frames from the fourth, so that the memory forgets; 5 frames, where distances count otherwise.
CASES = {
    "small": Case("2.1", 24, (1, 2, 3, 1), (4,), 128, ((20, 3), (5, 2))),
    "before": Case("2.0", 24, (1, 2, 3, 1), (4,), 160, ((9, 4),)),
    "hidden": Case("2.1", 24, (1, 2, 3, 1), (4,), 128, ((9, 4),), presence=0.5, faint=0.01),
    "medsam2": Case("2.1", 96, (1, 2, 7, 2), (5, 7, 9), 512, ((4, 1),)),
}


def weights(layout: Layout, case: Case) -> dict[str, NDArray[np.float32]]:
    """Tensors by the original's names: none of them zero or alike, and signals about as large as in a trained model."""
    return {name: _weight(name, shape, case) for name, shape in layout.items()}


def _weight(name: str, shape: tuple[int, ...], case: Case) -> NDArray[np.float32]:
    noise = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name == "sam_mask_decoder.pred_obj_score_head.layers.2.bias":
        value = np.full(shape, case.presence)
    elif name.endswith("gaussian_matrix"):
        value = noise
    elif len(shape) == 1:
        value = name.endswith(("weight", "gamma")) + 0.1 * noise
    elif name.endswith(("token.weight", "tokens.weight")) or any(part in name for part in _EMBEDDINGS):
        value = 0.5 * noise
    else:
        value = noise / np.sqrt(np.prod(shape[1:]))
    if name.startswith("sam_mask_decoder.output_hypernetworks_mlps.0.layers.2."):
        value = value * case.faint
    return np.asarray(value, dtype=np.float32)


def picture() -> NDArray[np.uint8]:
    """``(150, 210, 3)``: ramps, a chess board, and a bright ellipse."""
    y, x = np.mgrid[:150, :210]
    red, green = x * 255 // 209, y * 255 // 149
    blue = np.where((x // 20 + y // 20) % 2, 255, 30)
    inside = ((x - 100) / 50) ** 2 + ((y - 80) / 40) ** 2 < 1
    image = np.stack([red, green, blue], axis=-1)
    return np.where(inside[..., None], 255 - image // 3, image).astype(np.uint8)


def frame(index: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Frame ``(90, 130, 3)`` of a video in which a bright disk drifts and grows over noise, and the disk."""
    noise = np.random.RandomState(index).randint(0, 90, (90, 130, 1)).repeat(3, axis=2)
    y, x = np.mgrid[:90, :130]
    disk = np.hypot(x - 40 - 3 * index, y - 40 - index) < 15 + index
    return (noise + disk[..., None] * np.array([150, 130, 110])).astype(np.uint8), disk


def thinned(array: NDArray[Any], step: int) -> NDArray[Any]:
    """Every so manieth row and column of the last two axes."""
    return array[..., ::step, ::step] if array.ndim > 1 else array


def layout_digest(layout: Layout) -> str:
    """sha256 over the names and shapes of a model's tensors, in order of their names."""
    return hashlib.sha256(repr(sorted(layout.items())).encode()).hexdigest()
