"""Models that find a very bright spot, wherever the picture they are shown has it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.protocol import Mask
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.grounding.fakes import BoxSegmenter

BRIGHT = 200


class FindsTheBright:
    """Answers with the box around the bright pixels and a given trace; nothing where there are none."""

    name, digest, prompt_digest = "bright", "a" * 64, "b" * 64
    capabilities: frozenset[Capability] = frozenset({"batch"})

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        return [self._read(image) for image in images]

    def _read(self, image: Image) -> Reading:
        rows, columns = np.nonzero(image >= BRIGHT)
        frame = Frame(image.shape[1], image.shape[0])
        if not rows.size:
            return Reading(NoAnswer(Reason.NOTHING_FOUND, "There is nothing bright."), "", frame, 0.0)
        box = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, frame)
        points = Points((box.x1 + 0.5, box.y1 + 0.5), (box.x2 - 0.5, box.y2 - 0.5), frame)
        return Reading(Grounding(self.trace, box, points), "", frame, 0.0)


class MarksTheBright(BoxSegmenter):
    """The bright pixels of the box."""

    def _mark(self, image: Image, box: Box) -> Mask:
        return super()._mark(image, box) & (image >= BRIGHT)


def bright_grounder(trace: str = "A bright area.") -> Grounder:
    """The two, asking every slice."""
    return Grounder(FindsTheBright(trace), MarksTheBright(), {}, GroundingSettings(slices="all", carry="off"))
