"""What is forgiven to other people's models, and what is not."""

from __future__ import annotations

import pytest

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.answer_lenient import reader
from medreasoner_monai.task.geometry import Frame

FRAME = Frame(400, 200, "model")
BOX, FIRST, SECOND = (10.0, 20.0, 110.0, 120.0), (30.0, 40.0), (60.0, 70.0)


@pytest.mark.parametrize(
    "text",
    [
        '<think>why</think><answer>{"bbox": [10, 20, 110, 120], "points_1": [30, 40], "points_2": [60, 70]}</answer>',
        '```json\n{"bbox_2d": [10, 20, 110, 120], "point_2d": [[30, 40], [60, 70]]}\n```',
        "The area is {'box': (10, 20, 110, 120), 'points': [(30, 40), (60, 70)]}, I think.",
        '{"bbox": [[10, 20, 110, 120]], "points_1": [[30, 40]], "points_2": [60, 70],}',
        '{"bbox": [110, 120, 10, 20], "points_1": [30, 40], "points_2": [60, 70]}',
        (
            '{"bbox": [0, 0, 1, 1], "point_2d": [[0, 0], [1, 1]]} No: {"bbox": [10, 20, 110, 120], '
            '"point_2d": [[30, 40], [60, 70]], "label": "liver"}'
        ),
    ],
)
def test_forgiven(text: str) -> None:
    found = reader("lenient")(text, FRAME)

    assert isinstance(found, Grounding), found
    assert (found.box.xyxy, found.points.xy) == (BOX, (FIRST, SECOND))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.EMPTY),
        ("It is on the left.", Reason.NO_ANSWER),
        ("{bbox: left}", Reason.NOT_JSON),
        ('{"bbox": [10, 20, 110, 120]}', Reason.POINTS),
        ('{"point_2d": [[30, 40], [60, 70]]}', Reason.BOX),
        ('{"bbox": [10, 20, 110], "points": 3}', Reason.BOX_AND_POINTS),
        ('{"bbox": [true, 20, 110, 120], "point_2d": [[30, 40], [60, 70]]}', Reason.BOX),
        ('{"bbox": [10, 20, 10, 120], "point_2d": [[30, 40], [60, 70]]}', Reason.INVERTED),
        ('{"bbox": [500, 20, 600, 120], "point_2d": [[30, 40], [60, 70]]}', Reason.OUTSIDE_IMAGE),
        ('{"bbox": null, "points_1": null, "points_2": null}', Reason.NOTHING_FOUND),
    ],
)
def test_not_forgiven(text: str, reason: Reason) -> None:
    found = reader("lenient")(text, FRAME)

    assert isinstance(found, NoAnswer)
    assert found.reason is reason


def test_the_trace_is_kept_and_not_read_as_an_answer() -> None:
    text = '<think>perhaps {"bbox": [1, 1, 2, 2]}</think>{"bbox": [10, 20, 110, 120], "point_2d": [[30, 40], [60, 70]]}'
    found = reader("lenient")(text, FRAME)

    assert isinstance(found, Grounding)
    assert found.trace == 'perhaps {"bbox": [1, 1, 2, 2]}'
    assert found.box.xyxy == BOX


def test_thousandths_are_of_each_side() -> None:
    found = reader("lenient-1000")('{"bbox": [100, 100, 500, 1000], "point_2d": [[250, 500], [500, 500]]}', FRAME)

    assert isinstance(found, Grounding)
    assert found.box.xyxy == (40, 20, 200, 200)
    assert found.points.xy == ((100, 100), (200, 100))


def test_a_box_a_little_outside_is_cut_at_the_border() -> None:
    found = reader("lenient")('{"bbox": [-3, 20, 110, 203], "point_2d": [[30, 40], [60, 204]]}', FRAME)

    assert isinstance(found, Grounding)
    assert found.box.xyxy == (0, 20, 110, 200)
    assert found.points.second == (60, 200)


def test_strict_stays_strict() -> None:
    text = '{"bbox_2d": [10, 20, 110, 120], "point_2d": [[30, 40], [60, 70]]}'
    assert isinstance(reader("strict")(text, FRAME), NoAnswer)
    with pytest.raises(ConfigError, match="lenient"):
        reader("leniant")
