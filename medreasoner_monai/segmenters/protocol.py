"""What a segmenter promises, whatever engine is behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.geometry import Box, Frame, Points

Mask = NDArray[np.bool_]
Image = NDArray[np.uint8]
PromptKind = Literal["points", "box", "both"]
PROMPT_KINDS: tuple[PromptKind, ...] = ("points", "box", "both")
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Prompt:
    """A box, two points, or both, in one frame of the picture.

    Raises
    ------
    ValueError
        If neither is given, or the two are in different frames.
    """

    box: Box | None = None
    points: Points | None = None

    def __post_init__(self) -> None:
        if self.box is None and self.points is None:
            raise ValueError("a prompt needs a box, points, or both")
        if self.box is not None and self.points is not None and self.box.frame != self.points.frame:
            raise ValueError(f"box and points are in different frames: {self.box.frame}, {self.points.frame}")

    @property
    def frame(self) -> Frame:
        """The frame both are counted in."""
        shape = self.box or self.points
        assert shape is not None
        return shape.frame

    def only(self, kind: PromptKind) -> Prompt:
        """The part of the prompt that ``kind`` names."""
        return Prompt(self.box if kind != "points" else None, self.points if kind != "box" else None)


class Segmenter(Protocol, Generic[E]):
    """Embeds an image once, then takes any number of prompts."""

    name: str

    @property
    def prompt_kinds(self) -> tuple[PromptKind, ...]:
        """The kinds of prompt that the weights were trained on, in the order of :data:`PROMPT_KINDS`.

        An engine takes the others too, but its masks then mean nothing: callers send what is listed here, for example
        ``prompt.only(richest(segmenter.prompt_kinds))``.
        """
        ...

    @property
    def digest(self) -> str:
        """sha256 over engine name, settings and weights: what provenance and caches are keyed by."""
        ...

    def embed(self, image: Image) -> E:
        """What the engine computes of an image alone.

        Parameters
        ----------
        image:
            uint8, ``(rows, cols)`` grey or ``(rows, cols, 3)`` RGB.
        """
        ...

    def embed_many(self, images: Sequence[Image]) -> list[E]:
        """What :meth:`embed` gives for each of some images, which may differ in size; equal to it up to rounding."""
        ...

    def segment(self, embedding: E, prompts: Sequence[Prompt]) -> list[Mask]:
        """One mask per prompt: boolean, ``(rows, cols)`` of the embedded image. Prompts may be in any frame of it."""
        ...


def richest(kinds: Collection[PromptKind]) -> PromptKind:
    """The kind that says most about the target: box and points, else the box, else the points.

    >>> richest(("box",))
    'box'

    Raises
    ------
    ValueError
        If there is none.
    """
    for kind in reversed(PROMPT_KINDS):
        if kind in kinds:
            return kind
    raise ValueError("a segmenter takes at least one kind of prompt")


class OneByOne(ABC, Generic[E]):
    """For engines to which several images at a time are no less work than one after the other."""

    @abstractmethod
    def embed(self, image: Image) -> E:
        """What the engine computes of an image alone."""

    def embed_many(self, images: Sequence[Image]) -> list[E]:
        """What :meth:`embed` gives for each."""
        return [self.embed(image) for image in images]
