"""The models of grounding, shared by requests: work items in, answers with masks out, one batch at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from medreasoner_monai.dicom.view import AS_IT_LIES, Orientation
from medreasoner_monai.grounding.placing import stored_answer, stored_mask
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.grounding.turns import Turns
from medreasoner_monai.reasoners.consensus import answer_by_consensus
from medreasoner_monai.reasoners.protocol import Image, Reading, Reasoner, sampler
from medreasoner_monai.segmenters.carry import PromptCarrier
from medreasoner_monai.segmenters.protocol import Mask, Prompt, PromptKind, Segmenter, richest
from medreasoner_monai.segmenters.volume import Carried, Carrier, Pictures
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.findings import SliceResult
from medreasoner_monai.task.geometry import Frame


@dataclass(frozen=True, eq=False)
class WorkItem:
    """One picture and one question about it.

    Attributes
    ----------
    picture:
        uint8, ``(rows, columns)`` or ``(rows, columns, 3)``; items that share it share its encoding.
    index:
        Its slice number, which the result carries.
    question:
        A checked one.
    orientation:
        How the picture lies on the stored frame, in which the result is given.
    """

    picture: Image
    index: int
    question: str
    orientation: Orientation = AS_IT_LIES


class ModelWorker:
    """A reasoner and a segmenter that threads share. Each is used by one thread at a time, in the order of asking.

    Nothing else is locked: while one request's batch is read, another's pictures are rendered, or its masks drawn. A
    batch comes from one request, so that it gives the same whatever else is at work.
    """

    def __init__(self, reasoner: Reasoner, segmenter: Segmenter[Any]) -> None:
        self.reasoner, self.segmenter = reasoner, segmenter
        self._reading, self._segmenting = Turns(), Turns()

    def answer(self, items: Sequence[WorkItem], settings: GroundingSettings) -> list[SliceResult]:
        """One result per item, in order, from one batch.

        Raises
        ------
        InputError
            If several answers are asked for and the reasoner gives one.
        """
        together = len(items) if "batch" in self.reasoner.capabilities else 1
        readings: list[Reading] = []
        for start in range(0, len(items), together):
            with self._reading:
                readings += self._read(items[start : start + together], settings)
        with self._segmenting:
            return _mark(self.segmenter, items, readings)

    def carry(
        self, pictures: Pictures, count: int, key: int, prompt: Prompt, mask: Mask, step: Callable[[int], None]
    ) -> Carried:
        """Follow a mask through its series; see :meth:`~medreasoner_monai.segmenters.volume.Carrier.carry`.

        A segmenter with a way of its own is kept until the series is done, any other for a slice at a time.
        """
        if isinstance(self.segmenter, Carrier):
            with self._segmenting:
                return self.segmenter.carry(pictures, count, key, prompt, mask, step)
        shared = _SharedSegmenter(self.segmenter, self._segmenting)
        return PromptCarrier(shared).carry(pictures, count, key, prompt, mask, step)

    def _read(self, items: Sequence[WorkItem], settings: GroundingSettings) -> list[Reading]:
        images, questions = [i.picture for i in items], [i.question for i in items]
        if settings.answers == 1:
            return self.reasoner.answer(images, questions)
        return answer_by_consensus(
            sampler(self.reasoner),
            images,
            questions,
            settings.answers,
            temperature=settings.temperature,
            seed=settings.seed,
            threshold=settings.applied_threshold,
            calibration=settings.applied_calibration,
        )


class _SharedSegmenter:
    """A segmenter whose every call waits for its turn."""

    def __init__(self, segmenter: Segmenter[Any], turns: Turns) -> None:
        self._segmenter, self._turns = segmenter, turns
        self.name = segmenter.name

    @property
    def prompt_kinds(self) -> tuple[PromptKind, ...]:
        return self._segmenter.prompt_kinds

    @property
    def digest(self) -> str:
        return self._segmenter.digest

    def embed(self, image: Image) -> Any:
        with self._turns:
            return self._segmenter.embed(image)

    def embed_many(self, images: Sequence[Image]) -> list[Any]:
        with self._turns:
            return self._segmenter.embed_many(images)

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[Mask]:
        with self._turns:
            return self._segmenter.segment(embedding, prompts)


def _mark(segmenter: Segmenter[Any], items: Sequence[WorkItem], readings: Sequence[Reading]) -> list[SliceResult]:
    """Turn readings, in their pictures' own frame, into results in the stored frame: one per reading, in order."""
    started = time.perf_counter()
    needed = {
        id(item.picture): item.picture
        for item, reading in zip(items, readings, strict=True)
        if isinstance(reading.answer, Grounding)
    }
    embedded = segmenter.embed_many(list(needed.values())) if needed else []
    embeddings = dict(zip(needed, embedded, strict=True))
    encoding = (time.perf_counter() - started) / max(len(needed), 1)
    kind = richest(segmenter.prompt_kinds)
    results = []
    for item, reading in zip(items, readings, strict=True):
        if not isinstance(reading.answer, Grounding):
            results.append(_without_region(item.index, reading.answer, reading))
            continue
        started = time.perf_counter()
        rows, columns = item.picture.shape[:2]
        frame = Frame(columns, rows, "view")
        answer = reading.answer.to(frame)
        voters = [vote.to(frame) for vote in reading.votes] or [answer]
        prompts = [Prompt(v.box, v.points).only(kind) for v in voters]
        masks = segmenter.segment(embeddings[id(item.picture)], prompts)
        # Of several answers the pixels that at least half of them mark, as the evaluation counts them.
        mask = masks[0] if len(masks) == 1 else np.asarray(2 * np.sum(masks, axis=0) >= len(masks))
        seconds = reading.seconds + encoding + time.perf_counter() - started
        reason = "" if mask.any() else "empty mask"
        placed = stored_answer(answer, item.orientation, (rows, columns))
        mask = stored_mask(mask, item.orientation)
        results.append(SliceResult(item.index, placed, reason, mask, seconds, reading.confidence))
    return results


def _without_region(index: int, answer: NoAnswer, reading: Reading) -> SliceResult:
    unsure = answer.reason is Reason.UNSURE
    # The details of these two are meant to be read; those of an unreadable answer quote what the model wrote.
    readable = unsure or answer.reason is Reason.NOTHING_FOUND
    reason = f"{answer.reason}: {answer.detail}" if readable and answer.detail else str(answer.reason)
    return SliceResult(index, None, reason, None, reading.seconds, reading.confidence, unsure=unsure)
