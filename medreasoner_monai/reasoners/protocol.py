"""What a reasoner promises, whatever engine is behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import InputError
from medreasoner_monai.task.answer import Answer, Grounding
from medreasoner_monai.task.geometry import Frame

Image = NDArray[np.uint8]

Capability = Literal["batch", "sample", "seed", "stream"]
"""What a reasoner can do besides answering.

``batch``: several questions in one call are cheaper than one by one. ``sample``: it draws several answers to a question
(:class:`Sampler`). ``seed``: the same seed and batch draw the same. ``stream``: its text can be had while it is
written; no engine here does so yet.
"""


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
    def capabilities(self) -> frozenset[Capability]:
        """What it can do besides answering; consumers ask here, not for the methods."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over the weights and settings that decide the answers."""
        ...

    @property
    def prompt_digest(self) -> str:
        """sha256 of the prompt template in use."""
        ...

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """One :class:`Reading` per question, in order.

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


class Sampler(Reasoner, Protocol):
    """A reasoner with the capability ``sample``; :func:`sampler` gives one."""

    def sample(
        self, images: Sequence[Image], questions: Sequence[str], count: int, *, temperature: float, seed: int
    ) -> list[list[Reading]]:
        """``count`` readings per question, drawn at ``temperature``.

        Without the capability ``seed`` the seed is not used, and each call draws anew.
        """
        ...


def sampler(reasoner: Reasoner) -> Sampler:
    """The reasoner, known to draw several answers to a question.

    Raises
    ------
    InputError
        If it gives one answer only.
    """
    if "sample" not in reasoner.capabilities:
        raise InputError(f"the reasoner {reasoner.name!r} gives one answer per question; ask with answers 1")
    return cast(Sampler, reasoner)
