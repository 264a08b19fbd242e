"""The answer format: read strictly, written in one way. Nothing else in the project parses a completion.

A well-formed answer is exactly one think block followed by exactly one answer block::

    <think>reasoning</think><answer>{"bbox": [x1, y1, x2, y2], "points_1": [x, y], "points_2": [x, y]}</answer>

with coordinates in pixels of the image as the model saw it (method: answer format). Whitespace may stand around and
between the blocks, nothing else. The no-think variant is the answer block alone. A model that finds nothing says so by
``{"bbox": null, "points_1": null, "points_2": null}``.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from medreasoner_monai.task.geometry import Box, Frame, Points, convert

_TAG = re.compile(r"</?(?:think|answer)>")
KEYS = ("bbox", "points_1", "points_2")


class Reason(StrEnum):
    """Why a completion is no answer: a closed list, counted one by one in evaluation."""

    EMPTY = "empty completion"
    NO_THINK = "no think block"
    EMPTY_THINK = "empty think block"
    NO_ANSWER = "no answer block"
    BLOCKS = "blocks duplicated, reversed, nested or unclosed"
    OUTSIDE_TEXT = "text outside the blocks"
    NOT_JSON = "answer is not JSON"
    NOT_OBJECT = "answer is not a JSON object"
    DUPLICATE_KEY = "a key stands twice"
    KEYS = "keys missing or unknown"
    BOX = "box malformed"
    POINTS = "points malformed"
    BOX_AND_POINTS = "box and points malformed"
    INVERTED = "box inverted or empty"
    OUTSIDE_IMAGE = "coordinates outside the image"
    NOTHING_FOUND = "the answer is that there is nothing to find"
    UNSURE = "not sure enough to answer"


@dataclass(frozen=True, slots=True)
class Grounding:
    """A readable answer: the trace (None in the no-think variant), the box and the two points, in one frame."""

    trace: str | None
    box: Box
    points: Points

    def to(self, frame: Frame) -> Grounding:
        """The same answer counted in another frame of the picture."""
        return Grounding(self.trace, convert(self.box, frame), convert(self.points, frame))


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A completion without a region, and why. ``detail`` quotes what was found, shortened.

    All reasons but two say that it could not be read: for :attr:`Reason.NOTHING_FOUND` ``detail`` is the trace, and
    :attr:`Reason.UNSURE` is said of several answers that do not agree enough.
    """

    reason: Reason
    detail: str = ""

    @property
    def readable(self) -> bool:
        """Whether it is a well-formed answer all the same."""
        return self.reason is Reason.NOTHING_FOUND


Answer = Grounding | NoAnswer


@dataclass(frozen=True, slots=True)
class Blocks:
    """The inner text of a completion whose blocks stand as they should; ``think`` is None in the no-think variant."""

    think: str | None
    answer: str


class _DuplicateKeyError(ValueError):
    pass


def render(trace: str | None, box: Box, points: Points) -> str:
    """The completion that :func:`parse` reads back; coordinates are rounded to whole pixels, as in the training data.

    >>> f = Frame(112, 112, "model")
    >>> render("A dark oval.", Box(3, 4, 50, 61.6, f), Points((10, 12), (20, 33), f))
    '<think>A dark oval.</think><answer>{"bbox": [3, 4, 50, 62], "points_1": [10, 12], "points_2": [20, 33]}</answer>'
    """
    values = {
        "bbox": [round(v) for v in box.xyxy],
        "points_1": [round(v) for v in points.first],
        "points_2": [round(v) for v in points.second],
    }
    think = "" if trace is None else f"<think>{trace}</think>"
    return f"{think}<answer>{json.dumps(values)}</answer>"


def render_nothing(trace: str | None) -> str:
    """The completion of a model that finds nothing.

    >>> render_nothing(None)
    '<answer>{"bbox": null, "points_1": null, "points_2": null}</answer>'
    """
    think = "" if trace is None else f"<think>{trace}</think>"
    return f"{think}<answer>{json.dumps(dict.fromkeys(KEYS))}</answer>"


def split_blocks(text: str, *, think: bool = True) -> Blocks | NoAnswer:
    """Take the blocks apart, or say what is wrong with how they stand."""
    if not text.strip():
        return NoAnswer(Reason.EMPTY)
    tags = [m.group() for m in _TAG.finditer(text)]
    if "<answer>" not in tags:
        return NoAnswer(Reason.NO_ANSWER, _shorten(text))
    if think and "<think>" not in tags:
        return NoAnswer(Reason.NO_THINK, _shorten(text))
    wanted = (["<think>", "</think>"] if think else []) + ["<answer>", "</answer>"]
    if tags != wanted:
        return NoAnswer(Reason.BLOCKS, " ".join(tags)[:120])
    parts = _TAG.split(text)
    outside = parts[0::2]
    if any(p.strip() for p in outside):
        return NoAnswer(Reason.OUTSIDE_TEXT, _shorten(" ".join(p.strip() for p in outside)))
    inner = parts[1::2]
    if think and not inner[0].strip():
        return NoAnswer(Reason.EMPTY_THINK)
    return Blocks(inner[0].strip() if think else None, inner[-1].strip())


def parse(text: str, frame: Frame, *, think: bool = True) -> Answer:
    """Read a completion strictly.

    Parameters
    ----------
    text:
        What the model wrote, without special tokens.
    frame:
        The frame the model saw; coordinates outside ``[0, width] x [0, height]`` are malformed.
    think:
        Whether a think block is required (True) or forbidden (False).

    Returns
    -------
    A :class:`Grounding` in ``frame``, or a :class:`NoAnswer`. Never raises on any text.
    """
    blocks = split_blocks(text, think=think)
    if isinstance(blocks, NoAnswer):
        return blocks
    values = load_object(blocks.answer)
    if isinstance(values, NoAnswer):
        return values
    return _ground(blocks, values, frame)


def load_object(text: str) -> dict[str, Any] | NoAnswer:
    """The JSON object of an answer block, refusing repeated keys, NaN and infinity."""
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
    except _DuplicateKeyError as error:
        return NoAnswer(Reason.DUPLICATE_KEY, str(error))
    except (ValueError, RecursionError):
        return NoAnswer(Reason.NOT_JSON, _shorten(text))
    if not isinstance(value, dict):
        return NoAnswer(Reason.NOT_OBJECT, _shorten(text))
    return value


def numbers(value: object, count: int) -> tuple[float, ...] | None:
    """``count`` finite real numbers from a JSON list, or None; booleans and strings are not numbers."""
    if not isinstance(value, list) or len(value) != count:
        return None
    out: list[float] = []
    for v in value:
        if isinstance(v, bool) or not isinstance(v, int | float):
            return None
        try:
            number = float(v)
        except OverflowError:
            return None
        if not math.isfinite(number):
            return None
        out.append(number)
    return tuple(out)


def _ground(blocks: Blocks, values: dict[str, Any], frame: Frame) -> Answer:
    if set(values) != set(KEYS):
        return NoAnswer(Reason.KEYS, _shorten(", ".join(map(str, values))))
    if all(value is None for value in values.values()):
        return NoAnswer(Reason.NOTHING_FOUND, blocks.think or "")
    box = numbers(values["bbox"], 4)
    first, second = numbers(values["points_1"], 2), numbers(values["points_2"], 2)
    if first is None or second is None:
        return NoAnswer(Reason.POINTS if box is not None else Reason.BOX_AND_POINTS, _shorten(blocks.answer))
    if box is None:
        return NoAnswer(Reason.BOX, _shorten(blocks.answer))
    if box[2] <= box[0] or box[3] <= box[1]:
        return NoAnswer(Reason.INVERTED, _shorten(blocks.answer))
    xs, ys = (box[0], box[2], first[0], second[0]), (box[1], box[3], first[1], second[1])
    if min(*xs, *ys) < 0 or max(xs) > frame.width or max(ys) > frame.height:
        return NoAnswer(Reason.OUTSIDE_IMAGE, f"{_shorten(blocks.answer)} in {frame.width} x {frame.height}")
    return Grounding(
        blocks.think,
        Box(box[0], box[1], box[2], box[3], frame),
        Points((first[0], first[1]), (second[0], second[1]), frame),
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [k for k, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise _DuplicateKeyError(repr(key)[:60])
    return dict(pairs)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _shorten(text: str, limit: int = 120) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
