"""What a segmenter must beat: the prompt itself taken for the mask, without a look at the image."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence

import numpy as np

from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Image, Mask, OneByOne, Prompt
from medreasoner_monai.segmenters.shape import Map, check_image, locate
from medreasoner_monai.task.geometry import Frame

VERSION = 1


class _PromptOnly(OneByOne[Frame]):
    """A mask drawn from the prompt's box; for points alone, from the box of the circle they are a diameter of."""

    name: str
    prompt_kinds = PROMPT_KINDS

    @property
    def digest(self) -> str:
        """sha256 over engine name and version."""
        return hashlib.sha256(f"{self.name}/{VERSION}".encode()).hexdigest()

    def embed(self, image: Image) -> Frame:
        """The image's frame, which is all that is needed of it.

        Raises
        ------
        InputError
            If the image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        return check_image(image)

    def segment(self, embedding: Frame, prompts: Sequence[Prompt]) -> list[Mask]:
        """One boolean mask ``(rows, cols)`` per prompt; empty where it misses the picture."""
        return [self._one(embedding, prompt) for prompt in prompts]

    def _one(self, frame: Frame, prompt: Prompt) -> Mask:
        mask = np.zeros((frame.height, frame.width), dtype=bool)
        box, points = locate(prompt, frame)
        if box is None:
            if prompt.box is not None or not points:
                return mask
            (px, py), (qx, qy) = points[0], points[-1]
            r = max(float(np.hypot(px - qx, py - qy)) / 2, 0.5)
            box = ((px + qx) / 2 - r, (py + qy) / 2 - r, (px + qx) / 2 + r, (py + qy) / 2 + r)
        x1, y1 = max(0, int(box[0])), max(0, int(box[1]))
        x2, y2 = min(frame.width, int(np.ceil(box[2]))), min(frame.height, int(np.ceil(box[3])))
        u = (2 * (np.arange(x1, x2) + 0.5) - box[0] - box[2]) / (box[2] - box[0])
        v = (2 * (np.arange(y1, y2) + 0.5) - box[1] - box[3]) / (box[3] - box[1])
        mask[y1:y2, x1:x2] = self._inside(np.asarray(u[None, :]), np.asarray(v[:, None]))
        return mask

    @abstractmethod
    def _inside(self, u: Map, v: Map) -> Mask:
        """Which pixels belong, by their place in the box: -1 to 1 from its left (upper) to its right (lower) side."""


class WholeBox(_PromptOnly):
    """Every pixel whose centre lies in the box."""

    name = "box"

    def _inside(self, u: Map, v: Map) -> Mask:
        return np.asarray(np.maximum(np.abs(u), np.abs(v)) <= 1)


class EllipseInBox(_PromptOnly):
    """The upright ellipse that touches the box's four sides; for points alone, the circle."""

    name = "ellipse"

    def _inside(self, u: Map, v: Map) -> Mask:
        return np.asarray(u**2 + v**2 <= 1)
