"""Several sampled answers to one question made into one, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from medreasoner_monai.reasoners.calibration import DIGITS, Calibration
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
        What most answers say: a region, that there is nothing, or nothing readable; of two that are equally common the
        earlier of these. For a region the trace and points of the most central answer (the one whose box overlaps the
        others' most), and the median box of those that mean the same region. Among unreadable answers the commonest
        reason.
    confidence
        For a region the share of answers that have one times their mean IoU with that box: votes for "nothing" and
        unreadable answers count 0. For "nothing" the share of answers that say so, and 0 for no readable answer.
    votes
        The answers that mean the same region, for their masks to be put to a vote.
    """
    found = [a for a in answers if isinstance(a, Grounding)]
    nothing = [a for a in answers if isinstance(a, NoAnswer) and a.reason is Reason.NOTHING_FOUND]
    unreadable = [a for a in answers if isinstance(a, NoAnswer) and a.reason is not Reason.NOTHING_FOUND]
    if len(unreadable) > max(len(found), len(nothing)):
        reason, _ = Counter(a.reason for a in unreadable).most_common(1)[0]
        return next(a for a in unreadable if a.reason is reason), 0.0, ()
    if len(nothing) > len(found):
        return nothing[0], len(nothing) / len(answers), ()
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
    calibration: Calibration | None = None,
) -> list[Reading]:
    """One reading per question, made of ``count`` drawn ones; without a region where confidence is under ``threshold``.

    Parameters
    ----------
    images, questions:
        As :meth:`~medreasoner_monai.reasoners.protocol.Reasoner.answer` takes them.
    threshold:
        On the scale of the confidence: of agreement, or with a ``calibration`` of expected box IoU.
    calibration:
        Turns the agreement on a region into its confidence. The confidence that there is nothing stays a share of
        votes.
    """
    drawn = reasoner.sample(images, questions, count, temperature=temperature, seed=seed)
    return [_withhold_unsure(_calibrated(_merge(readings), calibration), threshold) for readings in drawn]


def _calibrated(reading: Reading, calibration: Calibration | None) -> Reading:
    if calibration is None or reading.confidence is None or not isinstance(reading.answer, Grounding):
        return reading
    return replace(reading, confidence=calibration(reading.confidence))


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
    return Reading(answer, text, readings[0].seen, seconds, confidence=round(confidence, DIGITS), votes=votes)


def _trace(answer: Answer) -> str | None:
    return answer.trace if isinstance(answer, Grounding) else None
