"""Several sampled answers to one question made into one, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medreasoner_monai.reasoners.protocol import Image, Reading, Sampler
from medreasoner_monai.task import geometry as g
from medreasoner_monai.task.answer import Answer, Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Box

TOGETHER = 0.5
"""Answers whose boxes overlap the most central one by this IoU mean the same region."""


def consensus(answers: Sequence[Answer]) -> tuple[Answer, float, tuple[Grounding, ...]]:
    """One answer for many in one frame.

    Returns
    -------
    answer
        The trace and points of the most central answer (the one whose box overlaps the others' most), and the median
        box of those that mean the same region. Where no half of the answers have a region, the commonest reason.
    confidence
        The mean IoU of all answers with that box, one without a region counting 0; for an answer without a region the
        share that has its reason, and 0 if the reason is that it could not be read.
    votes
        The answers that mean the same region, for their masks to be put to a vote.
    """
    found = [a for a in answers if isinstance(a, Grounding)]
    if 2 * len(found) < len(answers):
        rest = [a for a in answers if isinstance(a, NoAnswer)]
        reason, times = Counter(a.reason for a in rest).most_common(1)[0]
        first = next(a for a in rest if a.reason is reason)
        return first, times / len(answers) if first.readable else 0.0, ()
    boxes = np.array([a.box.xyxy for a in found])
    overlaps = np.array([g.box_iou(np.broadcast_to(b, boxes.shape), boxes) for b in boxes])
    centre = int(overlaps.sum(axis=1).argmax())
    same = np.flatnonzero(overlaps[centre] >= TOGETHER)
    middle = np.median(boxes[same], axis=0)
    x1, y1, x2, y2 = middle.tolist()
    answer = replace(found[centre], box=Box(x1, y1, x2, y2, found[centre].box.frame))
    agreement = float(g.box_iou(np.broadcast_to(middle, boxes.shape), boxes).sum() / len(answers))
    return answer, agreement, tuple(found[i] for i in same)


def answer_by_consensus(
    reasoner: Sampler,
    images: Sequence[Image],
    questions: Sequence[str],
    count: int,
    *,
    temperature: float,
    seed: int,
    threshold: float = 0.0,
) -> list[Reading]:
    """One reading per question, made of ``count`` drawn ones; without a region where confidence is under ``threshold``.

    Parameters
    ----------
    images, questions:
        As :meth:`~medreasoner_monai.reasoners.protocol.Reasoner.answer` takes them.
    """
    drawn = reasoner.sample(images, questions, count, temperature=temperature, seed=seed)
    return [_withhold_unsure(_merge(readings), threshold) for readings in drawn]


def _withhold_unsure(reading: Reading, threshold: float) -> Reading:
    confidence = reading.confidence or 0.0
    if not isinstance(reading.answer, Grounding) or confidence >= threshold:
        return reading
    detail = f"confidence {confidence:.2f}, {threshold:.2f} is asked for"
    return replace(reading, answer=NoAnswer(Reason.UNSURE, detail), votes=())


def _merge(readings: Sequence[Reading]) -> Reading:
    answer, confidence, votes = consensus([r.answer for r in readings])
    # The text that the answer's trace stands in, or else the first.
    text = next(
        (r.text for r in readings if r.answer in votes and _trace(r.answer) == _trace(answer)), readings[0].text
    )
    seconds = sum(r.seconds for r in readings)
    # Rounded as records keep it, so that a threshold fitted on records cuts here where it cut there.
    return Reading(answer, text, readings[0].seen, seconds, confidence=round(confidence, 5), votes=votes)


def _trace(answer: Answer) -> str | None:
    return answer.trace if isinstance(answer, Grounding) else None
