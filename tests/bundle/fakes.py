"""A reasoner that answers without a model, for tests of what is around it."""

from __future__ import annotations

from collections.abc import Sequence

from medreasoner_monai.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.geometry import Box, Frame, Points
from medreasoner_monai.reasoners.protocol import Image, Reading

TRACE = "The brightest structure lies in the middle of the picture."


class MiddleReasoner:
    """Answers with the middle half of the picture; a dark picture (mean below ``least``) gets no answer."""

    name = "middle"
    digest = "a" * 64
    prompt_digest = "b" * 64

    def __init__(self, least: float = 0.0) -> None:
        self.least = least
        self.seen: list[tuple[tuple[int, ...], str]] = []

    def ground(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        return [self._read(image, question) for image, question in zip(images, questions, strict=True)]

    def _read(self, image: Image, question: str) -> Reading:
        self.seen.append((image.shape, question))
        rows, columns = image.shape[:2]
        frame = Frame(columns, rows)
        if image.mean() < self.least:
            return Reading(NoAnswer(Reason.NO_ANSWER), "", frame, 0.0)
        box = Box(columns / 4, rows / 4, columns * 3 / 4, rows * 3 / 4, frame)
        points = Points((columns * 0.4, rows * 0.4), (columns * 0.6, rows * 0.6), frame)
        return Reading(Grounding(TRACE, box, points), "", frame, 0.0)
