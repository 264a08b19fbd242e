"""AskSettings a series: which slices, how often, and each answer turned into a mask."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.consensus import ask_often
from medreasoner_monai.reasoners.protocol import Image, Reading, Reasoner
from medreasoner_monai.segmenters.protocol import Prompt, Segmenter, richest
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.findings import SliceResult
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import check_question

Slices = int | Literal["all", "auto"]
"""Which slices are asked: one, counted from 0 in series order; all; or candidates by the number there are."""
Carry = Literal["auto", "on", "off"]
"""Whether the key slice's mask is carried through the slices that were not asked."""
Progress = Callable[[int, int], None]
"""Called with the number of questions answered and the number to answer."""

ALL_UP_TO = 16
"""With ``auto``, a series of at most this many slices is asked slice by slice."""
CANDIDATES = 8
"""With ``auto``, a longer series is asked on this many slices, evenly spread, and the best answer is carried on."""
BATCH = 4


@dataclass(frozen=True)
class AskSettings:
    """How a series is asked.

    Attributes
    ----------
    slices, carry:
        See :data:`Slices` and :data:`Carry`. ``auto`` carries where slices were left out and the series is a volume or
        a clip.
    answers:
        How often each slice is asked. With 1 the answer is the likeliest one and has no confidence; with more, answers
        are drawn at ``temperature`` and put together, and their agreement is the confidence.
    threshold:
        Answers of less confidence are withheld: the finding is an abstention. A single answer has no confidence and is
        always given.
    """

    slices: Slices = "auto"
    carry: Carry = "auto"
    answers: int = 1
    temperature: float = 0.7
    threshold: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.answers < 1 or self.temperature <= 0 or not 0 <= self.threshold <= 1:
            raise InputError("answers must be at least 1, temperature above 0 and the threshold between 0 and 1")

    def wants_carrying(self, series: Series, asked: Sequence[int]) -> bool:
        """Whether the mask shall be carried to the slices that were not asked."""
        if self.carry == "auto":
            return len(asked) < len(series) and (series.voxel_ml is not None or len(series.headers) == 1)
        return self.carry == "on" and len(asked) < len(series)


def check_questions(questions: str | Sequence[str]) -> list[str]:
    """The questions with their white space folded, each once.

    Raises
    ------
    InputError
        If there is none, or one is empty or too long.
    """
    texts = [questions] if isinstance(questions, str) else list(questions)
    if not texts:
        raise InputError('there is no question; give one, for example --question "Which organ makes bile?"')
    # A command line may have turned digits into numbers.
    return list(dict.fromkeys(check_question(str(text)) for text in texts))


def parse_slices(value: str | int) -> Slices:
    """The ``slices`` option as a person types it.

    >>> parse_slices("auto"), parse_slices("2")
    ('auto', 2)

    Raises
    ------
    InputError
        If it is neither ``auto``, ``all`` nor a whole number of at least 0.
    """
    text = str(value).strip().lower()
    if text == "auto":
        return "auto"
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise InputError(f"slices must be auto, all, or a slice number counted from 0; got {value!r}")


def parse_carry(value: object) -> Carry:
    """The ``carry`` option as a person types it; YAML and Fire turn ``on`` and ``off`` into truth values.

    Raises
    ------
    InputError
        If it is neither ``auto``, ``on`` nor ``off``.
    """
    text = {"true": "on", "false": "off"}.get(str(value).strip().lower(), str(value).strip().lower())
    if text == "auto":
        return "auto"
    if text == "on":
        return "on"
    if text == "off":
        return "off"
    raise InputError(f"carry must be auto, on or off; got {value!r}")


def slices_to_ask(series: Series, slices: Slices) -> list[int]:
    """Slice numbers, counted from 0 in series order.

    Raises
    ------
    InputError
        If there is no such slice.
    """
    count = len(series)
    if slices == "all" or (slices == "auto" and count <= ALL_UP_TO):
        return list(range(count))
    if slices == "auto":
        # The middle of equal parts: the first and last slices of a scan show little.
        return [int((i + 0.5) * count / CANDIDATES) for i in range(CANDIDATES)]
    if not 0 <= slices < count:
        raise InputError(f"slice {slices} is asked for, but the series has {count}, counted from 0 to {count - 1}")
    return [slices]


class Asker:
    """A reasoner and a segmenter at work on pictures; holds no state between calls."""

    def __init__(self, reasoner: Reasoner, segmenter: Segmenter[Any], asking: AskSettings) -> None:
        if asking.answers > 1 and not hasattr(reasoner, "sample"):
            raise InputError(f"the reasoner {reasoner.name!r} gives one answer a question; ask with answers 1")
        self.reasoner, self.segmenter, self.asking = reasoner, segmenter, asking

    def ask(
        self, images: Sequence[Image], indices: Sequence[int], questions: Sequence[str]
    ) -> list[tuple[str, SliceResult]]:
        """Every question of every picture, pictures first.

        Parameters
        ----------
        images:
            uint8, ``(rows, columns)`` or ``(rows, columns, 3)``.
        indices:
            Their slice numbers.
        questions:
            Checked ones.
        """
        pairs = [(picture, question) for picture in range(len(images)) for question in questions]
        readings = self.read([images[p] for p, _ in pairs], [q for _, q in pairs])
        marked = self.mark(images, [p for p, _ in pairs], [indices[p] for p, _ in pairs], readings)
        return [(question, result) for (_, question), result in zip(pairs, marked, strict=True)]

    def read(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        """One reading a picture and question."""
        a = self.asking
        if a.answers == 1:
            return self.reasoner.ground(images, questions)
        return ask_often(
            self.reasoner,  # type: ignore[arg-type]  # checked when made
            images,
            questions,
            a.answers,
            temperature=a.temperature,
            seed=a.seed,
            threshold=a.threshold,
        )

    def mark(
        self, images: Sequence[Image], pictures: Sequence[int], indices: Sequence[int], readings: Sequence[Reading]
    ) -> list[SliceResult]:
        """Turn readings into masks: one result a reading, in order.

        Parameters
        ----------
        images:
            As for :meth:`ask`.
        pictures:
            For each reading the place of its picture in ``images``; a picture is encoded once.
        indices:
            For each reading its slice number.
        readings:
            In their images' own frame.
        """
        started = time.perf_counter()
        needed = sorted({p for p, r in zip(pictures, readings, strict=True) if isinstance(r.answer, Grounding)})
        embedded = self.segmenter.embed_many([images[p] for p in needed]) if needed else []
        embeddings = dict(zip(needed, embedded, strict=True))
        encoding = (time.perf_counter() - started) / max(len(needed), 1)
        kind = richest(self.segmenter.prompt_kinds)
        results = []
        for picture, index, reading in zip(pictures, indices, readings, strict=True):
            if not isinstance(reading.answer, Grounding):
                results.append(_silent(index, reading.answer, reading))
                continue
            started = time.perf_counter()
            image = images[picture]
            frame = Frame(image.shape[1], image.shape[0], "dicom")
            grounding = reading.answer.to(frame)
            voters = [vote.to(frame) for vote in reading.votes] or [grounding]
            masks = self.segmenter.segment(embeddings[picture], [Prompt(v.box, v.points).only(kind) for v in voters])
            # Of several answers the pixels that at least half of them mark, as the evaluation counts them.
            mask = masks[0] if len(masks) == 1 else np.asarray(2 * np.sum(masks, axis=0) >= len(masks))
            seconds = reading.seconds + encoding + time.perf_counter() - started
            reason = "" if mask.any() else "empty mask"
            results.append(SliceResult(index, grounding, reason, mask, seconds, reading.confidence))
        return results


def _silent(index: int, answer: NoAnswer, reading: Reading) -> SliceResult:
    unsure = answer.reason is Reason.UNSURE
    # The details of these two are meant to be read; those of an unreadable answer quote what the model wrote.
    told = unsure or answer.reason is Reason.NOTHING_FOUND
    reason = f"{answer.reason}: {answer.detail}" if told and answer.detail else str(answer.reason)
    return SliceResult(index, None, reason, None, reading.seconds, reading.confidence, unsure=unsure)
