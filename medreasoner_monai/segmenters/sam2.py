"""SAM 2, SAM 2.1 and MedSAM2: promptable models with a memory, through the layers of transformers.

The weights are yours to give: a ``.pt`` of the original release or of MedSAM2, or a folder as transformers saves it;
:mod:`~medreasoner_monai.segmenters.sam2_weights` reads them.

Pictures and prompts are treated as the original's ``SAM2ImagePredictor`` treats them, asked for one mask per prompt
(``multimask_output`` off): what its authors advise where a prompt is clear, as a box or two points are. Where that mask
is not stable the original gives the best of its three masks for unclear prompts, and so does this. Coordinates are
handed on as they are; the half pixel between the two ways of counting is left as published evaluations have it.

:mod:`~medreasoner_monai.segmenters.sam2_video` carries a mask through a series with the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import object_digest
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Image, Mask, Prompt, PromptKind
from medreasoner_monai.segmenters.shape import check_image, locate
from medreasoner_monai.task.geometry import Frame

if TYPE_CHECKING:
    import torch

    from medreasoner_monai.segmenters.sam2_layers import Decoded, Features

# Part of the digest: raise it whenever the same weights give another mask.
VERSION = 1

# Prompts that are decoded at once; each takes some 60 MB while it is, at 1024 pixels.
_AT_ONCE = 8
# Pictures that are encoded at once.
_PICTURES_AT_ONCE, _PICTURES_AT_ONCE_ON_GPU = 1, 8


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The features of one picture, on the model's device, and the image's frame."""

    features: Features
    frame: Frame


class Sam2Segmenter:
    """Prompts to masks by transformers' ``Sam2Model`` or ``Sam2VideoModel``; ``sam2_weights.load`` makes one.

    On a GPU the image encoder runs in half precision (bfloat16, in which the original was trained); everything else,
    and all of it on a CPU, in single precision.

    Parameters
    ----------
    model:
        The model. It is moved to the device and set to evaluate.
    identity:
        What tells its weights from others, for the digest: variant, release, sha256 or seed.
    device:
        As torch names it; by default a GPU where there is one.
    prompt_kinds:
        What the weights were trained on.

    Attributes
    ----------
    side:
        Of the square in pixels that the encoder sees: it decides what a mask looks like, so it is part of the name.
    name:
        Engine, variant and ``side``, as in ``sam2 medsam2 512``.

    Raises
    ------
    ConfigError
        If there is no such device.
    """

    def __init__(
        self,
        model: Any,
        identity: Mapping[str, Any],
        device: str | None = None,
        *,
        prompt_kinds: tuple[PromptKind, ...] = PROMPT_KINDS,
    ) -> None:
        import torch

        try:
            self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
            self.model = model.to(self.device).eval().requires_grad_(False)
        except (RuntimeError, AssertionError) as error:
            raise ConfigError(f"the segmenter 'sam2' cannot use the device {device!r}: {error}") from None
        self.side: int = self.model.prompt_encoder.input_image_size
        self.prompt_kinds = prompt_kinds
        self.identity = {**identity, "image_size": self.side}
        if prompt_kinds != PROMPT_KINDS:
            self.identity["prompts"] = prompt_kinds
        self.name = f"sam2 {identity['variant']} {self.side}"
        self.half = self.device.type == "cuda"

    @property
    def digest(self) -> str:
        """sha256 over engine, version, what the weights are, the size of the input, and the encoder's precision."""
        return object_digest(["sam2", VERSION, self.identity, "half" if self.half else "single"])

    def embed(self, image: Image) -> Embedding:
        """The image's features.

        Raises
        ------
        InputError
            If the image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        return self.embed_many([image])[0]

    def embed_many(self, images: Sequence[Image]) -> list[Embedding]:
        """The features of images of any sizes, in order; on a GPU several are encoded at once.

        Raises
        ------
        InputError
            If an image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        import torch

        from medreasoner_monai.segmenters.sam2_layers import Features, as_picture, encode

        frames = [check_image(image) for image in images]
        step = _PICTURES_AT_ONCE if self.device.type == "cpu" else _PICTURES_AT_ONCE_ON_GPU
        found: list[Embedding] = []
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            with torch.inference_mode():
                pixels = torch.stack([as_picture(image, self.side) for image in images[part]])
                seen = encode(self.model, pixels.to(self.device), self.half)
                for i, frame in enumerate(frames[part]):
                    one = (t[i : i + 1].clone() for t in (seen.fine, seen.middle, seen.coarse))
                    found.append(Embedding(Features(*one), frame))
        return found

    def segment(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Mask]:
        """One boolean mask ``(rows, cols)`` per prompt; empty where it misses the picture.

        Boxes are clipped to the picture and made a pixel wide and high at least; points off the picture are left out.
        """
        frame = embedding.frame
        masks = [np.zeros((frame.height, frame.width), dtype=bool) for _ in prompts]
        for i, logits, _ in self.logits(embedding, prompts):
            masks[i] = logits > 0
        return masks

    def logits(
        self, embedding: Embedding, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[int, NDArray[np.float32], float]]:
        """Each prompt's index, its logits ``(rows, cols)`` and the overlap (IoU) with the true mask that is expected.

        They come kind by kind; prompts off the picture are left out.
        """
        import torch

        from medreasoner_monai.segmenters.sam2_layers import enlarge

        frame = embedding.frame
        for members, found in self.decoded(embedding, prompts):
            # One by one: at the image's size a batch of them may not fit in memory.
            for i, one, quality in zip(members, found.logits, found.quality, strict=True):
                with torch.inference_mode():
                    fine = enlarge(one[None], (frame.height, frame.width))
                yield i, fine[0, 0].cpu().numpy(), float(quality[0])

    def decoded(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Iterator[tuple[list[int], Decoded]]:
        """What the decoder says of prompts, with their indices, kind by kind and some at once."""
        import torch

        from medreasoner_monai.segmenters.sam2_layers import Features, decode

        seen = embedding.features
        for members, points, labels in _kinds(prompts, embedding.frame, self.side):
            with torch.inference_mode():
                marked = Features(seen.fine, seen.middle, _unremembering(self.model, seen.coarse))
                where = torch.from_numpy(points).to(self.device)
                what = torch.tensor(labels, dtype=torch.int32, device=self.device).expand(len(members), -1)
                found = decode(self.model, marked, where, what)
            yield members, found

    def pack(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        """The features, and ``size``: the image's width and height."""
        seen = embedding.features
        arrays = {"fine": seen.fine, "middle": seen.middle, "coarse": seen.coarse}
        size = np.array([embedding.frame.width, embedding.frame.height], dtype=np.int64)
        # Some come channels last, which safetensors would write in that order.
        return {**{name: tensor.contiguous().cpu().numpy() for name, tensor in arrays.items()}, "size": size}

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """The embedding that :meth:`pack` was given."""
        import torch

        from medreasoner_monai.segmenters.sam2_layers import Features

        width, height = (int(v) for v in arrays["size"])
        seen = (torch.from_numpy(arrays[name]).to(self.device) for name in ("fine", "middle", "coarse"))
        return Embedding(Features(*seen), Frame(width, height))


def _unremembering(model: Any, coarse: torch.Tensor) -> torch.Tensor:
    """Coarse features with the mark of a picture that has no memory."""
    marked: torch.Tensor = coarse + model.no_memory_embedding.reshape(1, -1, 1, 1)
    return marked


def _kinds(
    prompts: Sequence[Prompt], frame: Frame, side: int
) -> Iterator[tuple[list[int], NDArray[np.float32], list[int]]]:
    """Prompts of equal labels, together: their indices, points ``(n, m, 2)`` in the encoder's square, labels ``(m,)``.

    A box is two points, its corners, before the others. Prompts off the picture are left out.
    """
    kinds: dict[tuple[int, ...], list[tuple[int, list[tuple[float, float]]]]] = {}
    for i, prompt in enumerate(prompts):
        # Each by itself: a point outside the box is one that the model should see, where it lies on the picture.
        box = locate(prompt.only("box"), frame)[0] if prompt.box else None
        points = locate(prompt.only("points"), frame)[1] if prompt.points else []
        if box is not None or (points and prompt.box is None):
            corners = [] if box is None else [(box[0], box[1]), (box[2], box[3])]
            labels = (2, 3)[: len(corners)] + (1,) * len(points)
            kinds.setdefault(labels, []).append((i, [*corners, *points]))
    # In the original's order and precision: at other sides than 512 and 1024 it would differ in the last digit.
    size = np.array([frame.width, frame.height], dtype=np.float32)
    for labels, found in kinds.items():
        for start in range(0, len(found), _AT_ONCE):
            members, marked = zip(*found[start : start + _AT_ONCE], strict=True)
            yield list(members), np.array(marked, dtype=np.float32) / size * np.float32(side), list(labels)
