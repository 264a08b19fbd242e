"""Reading the answers of other people's models, which were not trained on our format. Chosen by name, never by default.

What is forgiven: text and code fences around the object, single quotes and trailing commas, other names of the keys,
corners in the wrong order, coordinates a little outside of the image, a missing think block. What is not: a box or two
points that are not there. The strict reader stays the judge of our own models.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.task.answer import Answer, Grounding, NoAnswer, Reason, numbers, parse
from medreasoner_monai.task.geometry import Box, Frame, Points

Reader = Callable[[str, Frame], Answer]

_BOX_KEYS = ("bbox", "bbox_2d", "box", "box_2d", "bounding_box")
_PAIR_KEYS = ("point_2d", "points_2d", "points", "point")
_FIRST_KEYS = ("points_1", "point_1", "point1")
_SECOND_KEYS = ("points_2", "point_2", "point2")
_TRACE = re.compile(r"<think(?:ing)?>(.*?)</think(?:ing)?>", re.DOTALL)
_OBJECT = re.compile(r"\{[^{}]*\}", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")


def read_pixels(text: str, frame: Frame) -> Answer:
    """Read leniently; coordinates are pixels of the image as the model saw it (Qwen2.5-VL)."""
    return _read(text, frame, 1.0, 1.0)


def read_thousandths(text: str, frame: Frame) -> Answer:
    """Read leniently; coordinates are thousandths of the image's sides (InternVL, Qwen2-VL)."""
    return _read(text, frame, frame.width / 1000, frame.height / 1000)


def _strict(text: str, frame: Frame) -> Answer:
    return parse(text, frame)


def _strict_direct(text: str, frame: Frame) -> Answer:
    return parse(text, frame, think=False)


READERS: dict[str, Reader] = {
    "strict": _strict,
    "strict-direct": _strict_direct,
    "lenient": read_pixels,
    "lenient-1000": read_thousandths,
}


def reader(name: str) -> Reader:
    """A reader by name: ``strict``, ``strict-direct`` (no think block), ``lenient`` or ``lenient-1000``.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in READERS:
        raise ConfigError(f"no answer reader {name!r}.{nearest(name, READERS)} Known: {', '.join(READERS)}")
    return READERS[name]


def _read(text: str, frame: Frame, sx: float, sy: float) -> Answer:
    if not text.strip():
        return NoAnswer(Reason.EMPTY)
    trace = _TRACE.search(text)
    objects = [found for found in map(_load, _OBJECT.findall(_TRACE.sub("", text))) if found is not None]
    if not objects:
        return NoAnswer(Reason.NOT_JSON if "{" in text else Reason.NO_ANSWER, " ".join(text.split())[:120])
    # A model that corrects itself means the last one.
    values = next((o for o in reversed(objects) if _first(o, _BOX_KEYS) is not None), objects[-1])
    if any(k in values and values[k] is None for k in _BOX_KEYS):
        return NoAnswer(Reason.NOTHING_FOUND, trace[1].strip() if trace else "")
    box, points = _box(values), _points(values)
    if box is None or points is None:
        missing = Reason.POINTS if box is not None else Reason.BOX_AND_POINTS if points is None else Reason.BOX
        return NoAnswer(missing, json.dumps(values, default=str)[:120])
    xs, ys = sorted((box[0] * sx, box[2] * sx)), sorted((box[1] * sy, box[3] * sy))
    x1, x2 = (min(max(x, 0.0), frame.width) for x in xs)
    y1, y2 = (min(max(y, 0.0), frame.height) for y in ys)
    if x2 <= x1 or y2 <= y1:
        return NoAnswer(Reason.INVERTED if xs[0] == xs[1] or ys[0] == ys[1] else Reason.OUTSIDE_IMAGE, str(box))
    (ax, ay), (bx, by) = ((min(max(x * sx, 0.0), frame.width), min(max(y * sy, 0.0), frame.height)) for x, y in points)
    found = Points((ax, ay), (bx, by), frame)
    return Grounding(trace[1].strip() if trace else None, Box(x1, y1, x2, y2, frame), found)


def _load(text: str) -> dict[str, Any] | None:
    tidy = _TRAILING_COMMA.sub(r"\1", text)
    for load in (json.loads, ast.literal_eval):
        try:
            value = load(tidy)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, dict):
            return {str(k): v for k, v in value.items()}
    return None


def _first(values: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((values[n] for n in names if n in values), None)


def _box(values: dict[str, Any]) -> tuple[float, ...] | None:
    return numbers(_plain(_first(values, _BOX_KEYS)), 4)


def _points(values: dict[str, Any]) -> list[tuple[float, ...]] | None:
    first, second = _first(values, _FIRST_KEYS), _first(values, _SECOND_KEYS)
    pair = [first, second] if first is not None and second is not None else _plain(_first(values, _PAIR_KEYS))
    if not isinstance(pair, list) or len(pair) != 2:
        return None
    found = [numbers(_plain(p), 2) for p in pair]
    return [p for p in found if p is not None] if None not in found else None


def _plain(value: Any) -> Any:
    """Tuples as lists, and a list of one list as that list, as some models write boxes."""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], list | tuple):
        return list(value[0])
    return value
