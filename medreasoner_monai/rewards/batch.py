"""A batch of completions, read once for all the terms that judge it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason, parse, split_blocks
from medreasoner_monai.task.geometry import Array, Frame

# What is left of the answer block's format score, by what is wrong with it (method: rewards, answer format).
_ANSWER_SCORE = {
    Reason.NOT_JSON: 0.2,
    Reason.NOT_OBJECT: 0.2,
    Reason.OUTSIDE_TEXT: 0.2,
    Reason.DUPLICATE_KEY: 0.4,
    Reason.KEYS: 0.4,
    Reason.BOX_AND_POINTS: 0.4,
    Reason.BOX: 0.6,
    Reason.POINTS: 0.6,
    Reason.INVERTED: 0.6,
    Reason.OUTSIDE_IMAGE: 0.6,
    Reason.NOTHING_FOUND: 1.0,
}


@dataclass(frozen=True)
class Batch:
    """N completions beside their ground truths, all in the frame the model saw.

    ``readable`` ``(N,)`` marks the well-formed regions that have a true one to be held against; ``boxes`` ``(M, 4)``
    XYXY and ``points`` ``(M, 2, 2)`` hold those alone, in order, beside their ``true_boxes`` and ``true_points``.
    ``think`` and ``answer`` ``(N,)`` are the format scores. ``abstained`` ``(N,)`` marks the answers that there is
    nothing to find, ``empty`` ``(N,)`` the questions for which that is true.
    """

    readable: NDArray[np.bool_]
    abstained: NDArray[np.bool_]
    empty: NDArray[np.bool_]
    think: Array
    answer: Array
    boxes: Array
    points: Array
    true_boxes: Array
    true_points: Array

    def spread(self, values: Array) -> Array:
        """Values of the readable answers ``(M,)`` put in their places, 0 for the rest: ``(N,)``."""
        out = np.zeros(len(self.readable))
        out[self.readable] = values
        return out


def read_batch(texts: Sequence[str], truths: Sequence[str], frames: Sequence[Frame], *, think: bool = True) -> Batch:
    """Read completions and ground truths.

    Parameters
    ----------
    texts:
        Completions.
    truths:
        As many JSON strings ``{"bbox_2d": [x1, y1, x2, y2], "point_2d": [[x, y], [x, y]]}``, both null where there is
        nothing to find.
    frames:
        As many frames: the one each model input had, in which both are counted.
    """
    answers = [parse(text, frame, think=think) for text, frame in zip(texts, frames, strict=True)]
    truth = [json.loads(t) for t in truths]
    empty = np.array([t["bbox_2d"] is None for t in truth], dtype=bool)
    readable = np.array([isinstance(a, Grounding) for a in answers], dtype=bool) & ~empty
    found = [(a, t) for a, t, r in zip(answers, truth, readable, strict=True) if r and isinstance(a, Grounding)]
    scores = [
        (1.0, 1.0) if isinstance(a, Grounding) else _format(t, a, think) for t, a in zip(texts, answers, strict=True)
    ]
    return Batch(
        readable=readable,
        abstained=np.array([isinstance(a, NoAnswer) and a.readable for a in answers], dtype=bool),
        empty=empty,
        think=np.array([s[0] for s in scores], dtype=float),
        answer=np.array([s[1] for s in scores], dtype=float),
        boxes=np.array([a.box.xyxy for a, _ in found], dtype=float).reshape(-1, 4),
        points=np.array([a.points.xy for a, _ in found], dtype=float).reshape(-1, 2, 2),
        true_boxes=np.array([t["bbox_2d"] for _, t in found], dtype=float).reshape(-1, 4),
        true_points=np.array([t["point_2d"] for _, t in found], dtype=float).reshape(-1, 2, 2),
    )


def _format(text: str, answer: NoAnswer, think: bool) -> tuple[float, float]:
    """Think and answer format scores of a completion that could not be read."""
    reason = answer.reason
    if reason in (Reason.EMPTY, Reason.BLOCKS):
        return 0.0, 0.0
    if reason is Reason.NO_ANSWER:
        return _lone_think(text), 0.0
    if reason is Reason.NO_THINK:
        inner = split_blocks(text, think=False)
        return 0.0, _ANSWER_SCORE.get(inner.reason, 0.0) if isinstance(inner, NoAnswer) else _answer_block(inner.answer)
    if reason is Reason.EMPTY_THINK:
        return 0.2, _answer_block(text[text.index("<answer>") + 8 : text.rindex("</answer>")])
    return 1.0, _ANSWER_SCORE[reason]


def _lone_think(text: str) -> float:
    if text.count("<think>") != 1 or text.count("</think>") != 1 or text.index("</think>") < text.index("<think>"):
        return 0.0
    return 1.0 if text[text.index("<think>") + 7 : text.index("</think>")].strip() else 0.2


def _answer_block(inner: str) -> float:
    # Only the format is asked for here, so any frame that holds every coordinate will do.
    read = parse(f"<answer>{inner}</answer>", Frame(2**31, 2**31, "model"), think=False)
    return 1.0 if isinstance(read, Grounding) else _ANSWER_SCORE.get(read.reason, 0.0)
