"""What answers the samples of an evaluation: a reasoner, the same shown black pictures, a file, or a yardstick."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.evaluation.jitter import generator, jittered
from medreasoner_monai.files import file_digest, object_digest
from medreasoner_monai.reasoners.consensus import answer_by_consensus
from medreasoner_monai.reasoners.protocol import Image, Reading, Reasoner, Sampler
from medreasoner_monai.task.answer import Answer, Grounding, NoAnswer, Reason
from medreasoner_monai.task.answer_lenient import reader
from medreasoner_monai.task.geometry import Box, Frame, Points

NO_PROMPT = "0" * 64
"""The prompt digest of those that are not prompted."""


class Answerer(Protocol):
    """Answers samples, of which an honest one looks at image and question alone."""

    @property
    def name(self) -> str:
        """For tables and headings."""
        ...

    @property
    def digest(self) -> str:
        """sha256 over all that decides the answers."""
        ...

    @property
    def prompt_digest(self) -> str:
        """sha256 of the prompt template, or :data:`NO_PROMPT`."""
        ...

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """One reading a sample, in order, in the stored frame."""
        ...


@dataclass(frozen=True)
class ModelAnswerer:
    """A reasoner; with ``blank`` it is shown a black picture in place of each image."""

    reasoner: Reasoner
    blank: bool = False

    @property
    def name(self) -> str:
        """The reasoner's."""
        return f"{self.reasoner.name}, blank image" if self.blank else self.reasoner.name

    @property
    def digest(self) -> str:
        """The reasoner's, and whether it sees."""
        return object_digest([self.reasoner.digest, self.blank])

    @property
    def prompt_digest(self) -> str:
        """The reasoner's."""
        return self.reasoner.prompt_digest

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """The reasoner's readings."""
        images: list[Image] = [np.zeros_like(s.image) if self.blank else s.image for s in samples]
        return self.reasoner.answer(images, [s.question for s in samples])


@dataclass(frozen=True)
class ConsensusAnswerer:
    """A reasoner that draws ``count`` answers per sample; their consensus is given where it reaches ``threshold``."""

    reasoner: Sampler
    count: int
    temperature: float
    seed: int = 0
    threshold: float = 0.0

    @property
    def name(self) -> str:
        """The reasoner's, and the number of answers drawn."""
        return f"{self.reasoner.name}, {self.count} answers"

    @property
    def digest(self) -> str:
        """The reasoner's, and how answers are drawn."""
        return object_digest(
            [self.reasoner.digest, "consensus", 2, self.count, self.temperature, self.seed, self.threshold]
        )

    @property
    def prompt_digest(self) -> str:
        """The reasoner's."""
        return self.reasoner.prompt_digest

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """The consensus for each sample."""
        # By the samples, so that a resumed evaluation draws what the whole one drew.
        seed = int(object_digest([self.seed, [s.id for s in samples]])[:8], 16)
        images, questions = [s.image for s in samples], [s.question for s in samples]
        return answer_by_consensus(
            self.reasoner,
            images,
            questions,
            self.count,
            temperature=self.temperature,
            seed=seed,
            threshold=self.threshold,
        )


@dataclass(frozen=True)
class Truth:
    """Answers with the true box and points: what the segmenters make of them is their ceiling.

    Where the image does not show the target it says so.

    Parameters
    ----------
    jitter:
        How far each side of the box is moved at most, as a share of the box's width or height; the points stay.
    seed:
        Together with a sample's id it decides the moves.
    """

    jitter: float = 0.0
    seed: int = 0

    prompt_digest = NO_PROMPT

    @classmethod
    def read(cls, text: str) -> Truth:
        """From ``truth`` or ``truth:jitter=0.1,seed=0``.

        Raises
        ------
        ConfigError
            If there is another option, or its value is not a share below a half or a whole number.
        """
        given = dict(part.partition("=")[::2] for part in text.partition(":")[2].split(",") if part)
        try:
            made = cls(float(given.pop("jitter", 0)), int(given.pop("seed", 0)))
        except ValueError as error:
            raise ConfigError(f"{text}: {error}; it is written truth:jitter=0.1,seed=0") from None
        if given or not 0 <= made.jitter < 0.5:
            wrong = f"unknown {', '.join(given)}" if given else f"jitter is a share from 0 to 0.5, got {made.jitter}"
            raise ConfigError(f"{text}: {wrong}; it is written truth:jitter=0.1,seed=0")
        return made

    @property
    def name(self) -> str:
        """Says how far boxes are off, if they are."""
        return f"truth, boxes off by up to {self.jitter:g}" if self.jitter else "truth"

    @property
    def digest(self) -> str:
        """sha256 over jitter and seed."""
        return object_digest(["truth", 1, self.jitter, self.seed] if self.jitter else ["truth", 1])

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """The truth."""
        return [_reading(self._one(s), s.frame) for s in samples]

    def _one(self, sample: Sample) -> Answer:
        if sample.truth is None:
            return NoAnswer(Reason.NOTHING_FOUND, sample.trace)
        box, points = sample.truth
        if self.jitter:
            box = jittered(box, self.jitter, generator(self.seed, sample.id))
        return Grounding(sample.trace, box, points)


class CentreBox:
    """Answers every question with the middle of the picture: half its width and height, and two points in that."""

    name = "centre-box"
    digest = object_digest(["centre-box", 1])
    prompt_digest = NO_PROMPT

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """The middle."""
        return [_reading(_middle(s.frame), s.frame) for s in samples]


def _middle(frame: Frame) -> Grounding:
    w, h = frame.width, frame.height
    points = Points((3 * w / 8, h / 2), (5 * w / 8, h / 2), frame)
    return Grounding(None, Box(w / 4, h / 4, 3 * w / 4, 3 * h / 4, frame), points)


class Predictions:
    """Answers from a file of JSON lines, made elsewhere.

    A row is ``{"id": sample, "completion": text}``, with ``"width"`` and ``"height"`` when the text's coordinates are
    not pixels of the stored image but of one resized to that.

    Raises
    ------
    InputError
        If the file cannot be read, or names a sample twice.
    """

    prompt_digest = NO_PROMPT

    def __init__(self, path: Path, reader_name: str = "strict") -> None:
        self.name = path.name
        self.path = path
        self.read = reader(reader_name)
        try:
            self.digest = object_digest([file_digest(path), reader_name])
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        self.rows: dict[str, tuple[str, int | None, int | None]] = {}
        for number, line in enumerate(lines, 1):
            if line.strip():
                name, text, width, height = self._row(line, number)
                if name in self.rows:
                    raise InputError(f"{path} line {number}: sample {name} stands twice")
                self.rows[name] = (text, width, height)

    def _row(self, line: str, number: int) -> tuple[str, str, int | None, int | None]:
        try:
            row = json.loads(line)
            name, text, width, height = row["id"], row["completion"], row.get("width"), row.get("height")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{self.path} line {number}: not a prediction ({type(error).__name__}: {error})") from None
        if not (isinstance(name, str) and isinstance(text, str)):
            raise InputError(f"{self.path} line {number}: id and completion are texts")
        if (width is None) != (height is None) or not all(
            v is None or (type(v) is int and v > 0) for v in (width, height)
        ):
            raise InputError(f"{self.path} line {number}: width and height are whole pixels, both or neither")
        return name, text, width, height

    def answer(self, samples: Sequence[Sample]) -> list[Reading]:
        """What the file says.

        Raises
        ------
        InputError
            If it says nothing of a sample.
        """
        return [self._one(s) for s in samples]

    def _one(self, sample: Sample) -> Reading:
        if sample.id not in self.rows:
            raise InputError(f"{self.path} has no prediction for sample {sample.id}; it needs one for every sample")
        text, width, height = self.rows[sample.id]
        seen = (
            Frame(width, height, "model")
            if width and height
            else Frame(sample.frame.width, sample.frame.height, "model")
        )
        answer = self.read(text, seen)
        if isinstance(answer, Grounding):
            answer = answer.to(sample.frame)
        return Reading(answer, text, seen, 0.0)


def _reading(answer: Answer, frame: Frame) -> Reading:
    text = "" if isinstance(answer, NoAnswer) else f"box {answer.box.xyxy}"
    return Reading(answer, text, frame, 0.0)
