"""What a reasoner promises, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.answer import Answer, Grounding
from medreasoner_monai.task.geometry import Frame

Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Reading:
    """One answered question.

    ``answer`` is in the frame of the image as it was given (``stored``); ``text`` is what the model wrote and is kept
    for the record only; ``seen`` is the frame the model saw; ``seconds`` this sample's share of its batch.
    ``confidence`` in [0, 1] and ``votes`` are there when several answers were made into one.
    """

    answer: Answer
    text: str
    seen: Frame
    seconds: float
    confidence: float | None = None
    votes: tuple[Grounding, ...] = ()


class Reasoner(Protocol):
    """Answers questions about images, in batches."""

    name: str

    @property
    def digest(self) -> str:
        """sha256 over the weights and settings that decide the answers."""
        ...

    @property
    def prompt_digest(self) -> str:
        """sha256 of the prompt template in use."""
        ...

    def ground(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """One :class:`Reading` a question, in order.

        Parameters
        ----------
        images:
            uint8, each ``(rows, cols)`` grey or ``(rows, cols, 3)`` RGB; sizes may differ.
        questions:
            As many as images.

        Raises
        ------
        InputError
            If a question is empty or too long, or the counts differ.
        """
        ...
