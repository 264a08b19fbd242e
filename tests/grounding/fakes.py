"""A reasoner and a segmenter that answer without a model, for tests of what is around them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Mask, Prompt
from medreasoner_monai.task.answer import Answer, Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Box, Frame, Points

TRACE = "The brightest structure lies in the middle of the picture."


class MiddleReasoner:
    """Answers with the middle half of the picture; a dark picture (mean below ``least``) gets ``otherwise``.

    Asked several times, every other answer is moved by ``spread`` of the picture's width.
    """

    name = "middle"
    digest = "a" * 64
    prompt_digest = "b" * 64
    capabilities: frozenset[Capability] = frozenset({"batch", "sample", "seed"})

    def __init__(
        self, least: float = 0.0, otherwise: Reason = Reason.NO_ANSWER, spread: float = 0.0, trace: str = TRACE
    ) -> None:
        self.least, self.otherwise, self.spread, self.trace = least, otherwise, spread, trace
        self.seen: list[tuple[tuple[int, ...], str]] = []

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        return [self._read(image, question) for image, question in zip(images, questions, strict=True)]

    def sample(
        self, images: Sequence[Image], questions: Sequence[str], count: int, *, temperature: float, seed: int
    ) -> list[list[Reading]]:
        return [
            [self._read(image, question, self.spread * (i % 2)) for i in range(count)]
            for image, question in zip(images, questions, strict=True)
        ]

    def _read(self, image: Image, question: str, moved: float = 0.0) -> Reading:
        self.seen.append((image.shape, question))
        rows, columns = image.shape[:2]
        frame = Frame(columns, rows)
        answer: Answer = NoAnswer(self.otherwise, "There is no such thing.")
        if image.mean() >= self.least:
            left = columns * (0.25 + moved)
            box = Box(left, rows / 4, left + columns / 2, rows * 3 / 4, frame)
            points = Points((left + columns * 0.15, rows * 0.4), (left + columns * 0.35, rows * 0.6), frame)
            answer = Grounding(self.trace, box, points)
        return Reading(answer, "", frame, 0.0)


class BoxSegmenter:
    """Marks the whole box; nothing where the picture is darker than ``least`` on average."""

    name = "box"
    digest = "c" * 64
    prompt_kinds = PROMPT_KINDS

    def __init__(self, least: float = 0.0) -> None:
        self.least = least
        self.embedded = 0

    def embed(self, image: Image) -> Image:
        self.embedded += 1
        return image

    def embed_many(self, images: Sequence[Image]) -> list[Image]:
        return [self.embed(image) for image in images]

    def segment(self, embedding: Image, prompts: Sequence[Prompt]) -> list[Mask]:
        return [self._mark(embedding, p.box) for p in prompts if p.box is not None]

    def _mark(self, image: Image, box: Box) -> Mask:
        mask = np.zeros(image.shape[:2], dtype=bool)
        if image.mean() >= self.least:
            mask[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)] = True
        return mask


def grounder(reasoner: MiddleReasoner | None = None, segmenter: BoxSegmenter | None = None) -> Grounder:
    """The two, as an open bundle."""
    lineage = {"version": "1.2.3", "model_digest": "m" * 64, "dataset_digest": "d" * 64, "files": {"big": "list"}}
    return Grounder(reasoner or MiddleReasoner(), segmenter or BoxSegmenter(), lineage)
