"""SAM and MedSAM: a promptable model with learned weights, through the ``segment-anything`` package.

The weights are yours to give, as a ``.pth`` file in the original layout: SAM's ``sam_vit_b_01ec64.pth`` and its larger
kin, or ``medsam_vit_b.pth``. MedSAM is the same model with other weights; it was trained with boxes on pictures of 1024
pixels, so only its masks from a box mean something.

Pictures and prompts are treated as the package's ``SamPredictor`` treats them, and one mask per prompt is asked for,
as published evaluations do. Coordinates are handed on as they are, although SAM counts from pixel centres and this
project from pixel corners; the half pixel between them is left as those evaluations have it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pictures

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import object_digest
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Image, Mask, Prompt, PromptKind
from medreasoner_monai.segmenters.shape import Point, check_image, locate
from medreasoner_monai.task.geometry import Frame

if TYPE_CHECKING:
    import torch

# Part of the digest: raise it whenever the same weights give another mask.
VERSION = 1

# Prompts that are decoded at once; each takes some 26 MB while it is.
_AT_ONCE = 16
# Images that are encoded at once; on a CPU no more than have these many tokens together. A picture of 1024 pixels has
# them by itself: it keeps a CPU busy, and each further one would take 200 MB.
_IMAGES, _TOKENS_ON_CPU = 8, 64 * 64


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """The encoder's features ``(channels, h, w)``, float32 on the model's device, and the image's frame."""

    features: torch.Tensor
    frame: Frame


class SamSegmenter:
    """Prompts to masks by any model of the package's ``Sam`` class; ``sam_weights.load`` makes one from a file.

    On a GPU the image encoder runs in half precision; everything else, and all of it on a CPU, in single precision.

    Parameters
    ----------
    model:
        A ``segment_anything.modeling.Sam``. It is moved to the device and set to evaluate.
    identity:
        What tells its weights from others, for the digest: variant and sha256, or seed.
    device:
        As torch names it; by default a GPU where there is one.
    prompt_kinds:
        What the weights were trained on.

    Raises
    ------
    ConfigError
        If there is no such device.
    """

    name = "sam"
    version = VERSION
    best_of_three = False
    """Whether a prompt gets the best of the three masks of an ambiguous one, by the decoder's own estimate."""

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
            raise ConfigError(f"the segmenter {self.name!r} cannot use the device {device!r}: {error}") from None
        self.prompt_kinds = prompt_kinds
        self.identity = {**identity, **({} if prompt_kinds == PROMPT_KINDS else {"prompts": prompt_kinds})}
        self.half = self.device.type == "cuda"
        with torch.inference_mode():
            self.positions = self.model.prompt_encoder.get_dense_pe()

    @property
    def digest(self) -> str:
        """sha256 over engine name, version, what the weights are, and the encoder's precision."""
        return object_digest([self.name, self.version, self.identity, "half" if self.half else "single"])

    def embed(self, image: Image) -> Embedding:
        """The image's features.

        Raises
        ------
        InputError
            If the image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        (embedding,) = self.embed_many([image])
        return embedding

    def embed_many(self, images: Sequence[Image]) -> list[Embedding]:
        """The same of several images, up to eight of which go through the encoder at once.

        On a CPU that is as many as give it work: eight of 256 x 256 pixels, one of 1024 x 1024.
        Features are those of :meth:`embed` up to rounding: within 1e-4 in single precision, within 1e-2 of the largest
        of them in half precision.

        Raises
        ------
        InputError
            If an image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        import torch

        from medreasoner_monai.segmenters.sam_layers import encode

        frames = [check_image(image) for image in images]
        found: list[Embedding] = []
        step = self._at_once()
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            with torch.inference_mode(), torch.autocast(self.device.type, torch.float16, enabled=self.half):
                pixels = torch.stack([self._pixels(i, f) for i, f in zip(images[part], frames[part], strict=True)])
                features = encode(self.model.image_encoder, pixels).float()
            # Copies: an embedding that is kept should not keep its neighbours.
            found += [Embedding(f.clone(), frame) for f, frame in zip(features, frames[part], strict=True)]
        return found

    def segment(self, embedding: Embedding, prompts: Sequence[Prompt]) -> list[Mask]:
        """One boolean mask ``(rows, cols)`` per prompt; empty where it misses the picture.

        Boxes are clipped to the picture and made a pixel wide and high at least; points off the picture are left out.
        """
        frame = embedding.frame
        masks = [np.zeros((frame.height, frame.width), dtype=bool) for _ in prompts]
        for i, logits in self.logits(embedding, prompts):
            masks[i] = logits > self.model.mask_threshold
        return masks

    def logits(self, embedding: Embedding, prompts: Sequence[Prompt]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Each prompt's index and its logits ``(rows, cols)``, kind by kind; prompts off the picture are left out."""
        import torch

        frame = embedding.frame
        seen = self.seen(frame)
        for members, coarse, _ in self.coarse(embedding, prompts):
            # One by one: at the image's size a batch of them may not fit in memory.
            for i, one in zip(members, coarse, strict=True):
                with torch.inference_mode():
                    fine = self.model.postprocess_masks(one[None, None], seen[::-1], (frame.height, frame.width))
                yield i, fine[0, 0].cpu().numpy()

    def coarse(
        self, embedding: Embedding, prompts: Sequence[Prompt]
    ) -> Iterator[tuple[list[int], torch.Tensor, torch.Tensor]]:
        """Some prompts' indices ``n``, their logits as decoded ``(n, h, w)`` and the IoU the decoder expects ``(n,)``.

        Kind by kind; prompts off the picture are left out.
        """
        import torch

        from medreasoner_monai.segmenters.sam_layers import decode

        frame = embedding.frame
        seen = self.seen(frame)
        for members, boxes, points in _kinds(prompts, frame, (seen[0] / frame.width, seen[1] / frame.height)):
            with torch.inference_mode():
                tokens = self._embedded(boxes, points)
                found = decode(self.model, embedding.features[None], self.positions, tokens, self.best_of_three)
            yield members, *found

    def pack(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        """The features, and ``size``: the image's width and height."""
        size = np.array([embedding.frame.width, embedding.frame.height], dtype=np.int64)
        return {"features": embedding.features.cpu().numpy(), "size": size}

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """The embedding that :meth:`pack` was given."""
        import torch

        width, height = (int(v) for v in arrays["size"])
        return Embedding(torch.from_numpy(arrays["features"]).to(self.device), Frame(width, height))

    def _at_once(self) -> int:
        """How many images go through the encoder together."""
        if self.device.type != "cpu":
            return _IMAGES
        tokens = self.positions.shape[-2] * self.positions.shape[-1]
        return max(1, min(_IMAGES, _TOKENS_ON_CPU // tokens))

    def _pixels(self, image: Image, frame: Frame) -> torch.Tensor:
        """What the encoder takes, ``(3, side, side)``: resized, normalised and, where it is narrower, padded."""
        import torch

        colour = image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        seen = self._resized(colour, self.seen(frame))
        pixels: torch.Tensor = self.model.preprocess(torch.from_numpy(seen).to(self.device).permute(2, 0, 1))
        return pixels

    def _resized(self, colour: Image, size: tuple[int, int]) -> Image:
        """An image ``(rows, cols, 3)`` in another width and height."""
        return np.array(Pictures.fromarray(colour).resize(size, Pictures.Resampling.BILINEAR))

    def seen(self, frame: Frame) -> tuple[int, int]:
        """Width and height in which the encoder sees an image: its longer side fills the encoder's input."""
        scale = self.model.image_encoder.img_size / max(frame.width, frame.height)
        return max(1, int(frame.width * scale + 0.5)), max(1, int(frame.height * scale + 0.5))

    def _embedded(self, boxes: NDArray[np.float32] | None, points: NDArray[np.float32] | None) -> torch.Tensor:
        """Prompts ``(n, 4)`` and ``(n, m, 2)``, in the pixels that the encoder sees, as ``(n, tokens, channels)``."""
        import torch

        corners = None if boxes is None else torch.from_numpy(boxes).to(self.device)
        marked = None
        if points is not None:
            marked = torch.from_numpy(points).to(self.device), torch.ones(points.shape[:2], device=self.device)
        tokens: torch.Tensor = self.model.prompt_encoder(points=marked, boxes=corners, masks=None)[0]
        return tokens


def _kinds(
    prompts: Sequence[Prompt], frame: Frame, scale: tuple[float, float]
) -> Iterator[tuple[list[int], NDArray[np.float32] | None, NDArray[np.float32] | None]]:
    """Prompts that take equally many tokens, together: their indices, boxes ``(n, 4)`` and points ``(n, m, 2)``.

    Coordinates are those of the image's frame times ``scale`` in x and y. Prompts off the picture are left out.
    """
    kinds: dict[tuple[bool, int], list[tuple[int, Sequence[float], list[Point]]]] = {}
    for i, prompt in enumerate(prompts):
        # Each by itself: a point outside the box is one that the model should see, where it lies on the picture.
        box = locate(prompt.only("box"), frame)[0] if prompt.box else None
        points = locate(prompt.only("points"), frame)[1] if prompt.points else []
        if box is not None or (points and prompt.box is None):
            kinds.setdefault((box is not None, len(points)), []).append((i, box or (), points))
    for (boxed, count), found in kinds.items():
        for start in range(0, len(found), _AT_ONCE):
            members, boxes, marks = zip(*found[start : start + _AT_ONCE], strict=True)
            yield (
                list(members),
                (np.array(boxes) * (*scale, *scale)).astype(np.float32) if boxed else None,
                (np.array(marks) * scale).astype(np.float32) if count else None,
            )
