"""Scoring completions from a file: JSON lines in, one JSON row each out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from medreasoner_monai.errors import InputError
from medreasoner_monai.rewards.suites import RewardSuite
from medreasoner_monai.task.answer import numbers
from medreasoner_monai.task.geometry import Box, Frame, Points

# Where a row does not say how large the image was, nothing is outside of it.
_ANY_FRAME = Frame(2**31, 2**31, "model")


class RowError(InputError):
    """A row cannot be scored; the message says why."""


def score_lines(lines: Iterable[str], suite: RewardSuite, *, chunk: int = 2048) -> Iterator[dict[str, Any]]:
    """Scores of rows ``{"completion": text, "ground_truth": {"bbox_2d": …, "point_2d": …}}``, in order.

    Parameters
    ----------
    lines:
        JSON lines; blank ones are passed over. ``ground_truth`` may be a JSON string, as in the parquet files. With
        ``"width"`` and ``"height"`` (pixels of the image as the model saw it) coordinates outside are malformed.
    suite:
        The rewards.

    Yields
    ------
    ``{term: value, …, "score": sum}``, or ``{"line": n, "error": why}`` for a row that cannot be scored.
    """
    numbered = ((n, line) for n, line in enumerate(lines, 1) if line.strip())
    while part := list(islice(numbered, chunk)):
        read: list[tuple[str, str, Frame] | RowError] = [_try(line) for _, line in part]
        good = [r for r in read if not isinstance(r, RowError)]
        found = suite.score([g[0] for g in good], [g[1] for g in good], [g[2] for g in good])
        rows = iter([dict(zip(found, map(float, values), strict=True)) for values in zip(*found.values(), strict=True)])
        for (number, _), result in zip(part, read, strict=True):
            if isinstance(result, RowError):
                yield {"line": number, "error": str(result)}
            else:
                yield {name: round(value, 6) for name, value in next(rows).items()}


def _try(line: str) -> tuple[str, str, Frame] | RowError:
    try:
        return read_row(line)
    except RowError as error:
        return error


def read_row(line: str) -> tuple[str, str, Frame]:
    """A row's completion, its ground truth as JSON, and its frame.

    Raises
    ------
    RowError
        If the row is not as :func:`score_lines` says.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RowError(f"not JSON: {error}") from None
    if not isinstance(row, dict):
        raise RowError('not a JSON object; expected {"completion": …, "ground_truth": …}')
    text, truth = row.get("completion"), row.get("ground_truth")
    if not isinstance(text, str):
        raise RowError("completion is missing or no text")
    if isinstance(truth, str):
        try:
            truth = json.loads(truth)
        except ValueError as error:
            raise RowError(f"ground_truth is no JSON: {error}") from None
    if not isinstance(truth, dict) or not {"bbox_2d", "point_2d"} <= truth.keys():
        raise RowError('ground_truth needs "bbox_2d" and "point_2d"')
    frame = _frame(row)
    _check(truth, frame)
    return text, json.dumps({name: truth[name] for name in ("bbox_2d", "point_2d")}), frame


def _frame(row: dict[str, Any]) -> Frame:
    sizes = [row.get(name) for name in ("width", "height")]
    if sizes == [None, None]:
        return _ANY_FRAME
    width, height = sizes
    if not all(isinstance(s, int) and not isinstance(s, bool) and s > 0 for s in sizes):
        raise RowError(f"width and height are whole pixels, both or neither, got {width!r} and {height!r}")
    return Frame(width, height, "model")  # type: ignore[arg-type]  # checked to be whole numbers above


def _check(truth: dict[str, Any], frame: Frame) -> None:
    if truth["bbox_2d"] is None and truth["point_2d"] is None:
        return
    box = numbers(truth["bbox_2d"], 4)
    pair = truth["point_2d"]
    first, second = (numbers(p, 2) for p in pair) if isinstance(pair, list) and len(pair) == 2 else (None, None)
    if box is None or first is None or second is None:
        raise RowError(f"ground_truth is not four and two times two numbers: {json.dumps(truth)[:120]}")
    try:
        made = Box(box[0], box[1], box[2], box[3], frame)
        Points((first[0], first[1]), (second[0], second[1]), frame)
    except ValueError as error:
        raise RowError(f"ground_truth: {error}") from None
    if not made.within():
        raise RowError(f"ground_truth: box {made.xyxy} lies outside the image of {frame.width} x {frame.height}")
