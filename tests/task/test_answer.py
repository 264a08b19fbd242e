"""The answer format: what is read, what is refused, and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.task.answer import (
    Answer,
    Grounding,
    NoAnswer,
    Reason,
    load_object,
    numbers,
    parse,
    render,
    render_nothing,
)
from medreasoner_monai.task.geometry import Box, Frame, Points

FRAME = Frame(112, 84, "model")
GOOD = '{"bbox": [3, 4, 50, 62], "points_1": [10, 12], "points_2": [20, 33]}'
XS, YS = st.integers(0, FRAME.width), st.integers(0, FRAME.height)


def whole(answer: str, think: str = "A dark oval.") -> str:
    return f"<think>{think}</think><answer>{answer}</answer>"


def with_values(bbox: str = "[3, 4, 50, 62]", first: str = "[10, 12]", second: str = "[20, 33]") -> str:
    return whole(f'{{"bbox": {bbox}, "points_1": {first}, "points_2": {second}}}')


def reason(answer: Answer) -> Reason:
    assert isinstance(answer, NoAnswer), answer
    return answer.reason


@st.composite
def shapes(draw: st.DrawFn) -> tuple[Box, Points]:
    x1, x2 = sorted(draw(st.lists(XS, min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(draw(st.lists(YS, min_size=2, max_size=2, unique=True)))
    return Box(x1, y1, x2, y2, FRAME), Points(draw(st.tuples(XS, YS)), draw(st.tuples(XS, YS)), FRAME)


@given(shapes(), st.one_of(st.none(), st.text('abc dé.,{}[]"\\', min_size=1).filter(str.strip)))
def test_what_is_rendered_is_read_back(shape: tuple[Box, Points], trace: str | None) -> None:
    box, points = shape
    read = parse(render(trace, box, points), FRAME, think=trace is not None)
    assert read == Grounding(trace.strip() if trace else None, box, points)


def test_white_space_may_stand_around_and_between_the_blocks() -> None:
    read = parse(f"\n <think> why </think>\n\n<answer>\n{GOOD}\n</answer> ", FRAME)
    assert isinstance(read, Grounding) and read.trace == "why" and read.box.xyxy == (3, 4, 50, 62)


def test_answer_moves_to_the_stored_frame() -> None:
    read = parse(whole(GOOD), FRAME)
    assert isinstance(read, Grounding)
    assert read.to(Frame(224, 168)).box == Box(6, 8, 100, 124, Frame(224, 168))


def test_every_reason_has_an_example() -> None:
    examples = {
        Reason.EMPTY: " \n",
        Reason.NO_THINK: f"<answer>{GOOD}</answer>",
        Reason.EMPTY_THINK: whole(GOOD, think="  "),
        Reason.NO_ANSWER: "<think>It is on the left.</think>",
        Reason.BLOCKS: whole(GOOD) + whole(GOOD),
        Reason.OUTSIDE_TEXT: "Sure! " + whole(GOOD),
        Reason.NOT_JSON: whole("bbox: 3, 4, 50, 62"),
        Reason.NOT_OBJECT: whole("[3, 4, 50, 62]"),
        Reason.DUPLICATE_KEY: whole('{"bbox": [1, 1, 2, 2], ' + GOOD[1:]),
        Reason.KEYS: whole('{"bbox": [3, 4, 50, 62]}'),
        Reason.BOX: with_values(bbox="[3, 4, 50]"),
        Reason.POINTS: with_values(second="[20]"),
        Reason.BOX_AND_POINTS: with_values(bbox="[]", first="null"),
        Reason.INVERTED: with_values(bbox="[50, 4, 3, 62]"),
        Reason.OUTSIDE_IMAGE: with_values(bbox="[3, 4, 113, 62]"),
        Reason.NOTHING_FOUND: render_nothing("clear"),
    }
    said_of_several = {Reason.UNSURE}
    assert {r: reason(parse(text, FRAME)) for r, text in examples.items()} == {
        r: r for r in {*Reason} - said_of_several
    }


@pytest.mark.parametrize(
    "text",
    [
        f"<answer>{GOOD}</answer><think>reversed</think>",
        f"<think>nested <answer>{GOOD}</answer></think>",
        f"<think>twice</think><think>twice</think><answer>{GOOD}</answer>",
        f"<think>unclosed <answer>{GOOD}</answer>",
        f"<think>cut off</think><answer>{GOOD}",
        f"<think>answer twice</think><answer>{GOOD}</answer><answer>{GOOD}</answer>",
    ],
)
def test_blocks_that_do_not_stand_as_they_should_are_refused(text: str) -> None:
    assert reason(parse(text, FRAME)) is Reason.BLOCKS


def test_no_think_variant_forbids_a_think_block() -> None:
    assert isinstance(parse(f"<answer>{GOOD}</answer>", FRAME, think=False), Grounding)
    assert reason(parse(whole(GOOD), FRAME, think=False)) is Reason.BLOCKS


@pytest.mark.parametrize(
    "bbox", ["[true, true, true, true]", '["3", "4", "50", "62"]', "[3, 4, 50, 1e999]", "[[3], 4, 50, 62]"]
)
def test_what_is_no_number_is_no_coordinate(bbox: str) -> None:
    assert reason(parse(with_values(bbox=bbox), FRAME)) is Reason.BOX


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity"])
def test_nan_and_infinity_are_not_json(value: str) -> None:
    assert reason(parse(with_values(bbox=f"[{value}, 4, 50, 62]"), FRAME)) is Reason.NOT_JSON


def test_integer_beyond_any_float_is_no_number() -> None:
    assert numbers([10**400], 1) is None


def test_very_deep_json_is_refused_not_crashed_on() -> None:
    assert reason(parse(whole("[" * 100_000), FRAME)) is Reason.NOT_JSON


@pytest.mark.parametrize("bbox", ["[-1, 4, 50, 62]", "[3, 4, 50, 85]"])
def test_box_outside_the_picture_is_refused(bbox: str) -> None:
    assert reason(parse(with_values(bbox=bbox), FRAME)) is Reason.OUTSIDE_IMAGE


def test_point_outside_the_picture_is_refused() -> None:
    assert reason(parse(with_values(first="[113, 2]"), FRAME)) is Reason.OUTSIDE_IMAGE


def test_picture_s_own_edges_are_inside() -> None:
    assert isinstance(parse(with_values("[0, 0, 112, 84]", "[0, 0]", "[112, 84]"), FRAME), Grounding)


@pytest.mark.parametrize("bbox", ["[3, 4, 3, 62]", "[3, 4, 50, 4]"])
def test_box_without_area_is_refused(bbox: str) -> None:
    assert reason(parse(with_values(bbox=bbox), FRAME)) is Reason.INVERTED


def test_unknown_key_is_refused() -> None:
    assert reason(parse(whole(GOOD[:-1] + ', "note": 1}'), FRAME)) is Reason.KEYS


def test_detail_quotes_what_was_found_shortened() -> None:
    answer = parse("x" * 5000, FRAME)
    assert isinstance(answer, NoAnswer) and len(answer.detail) == 120 and answer.detail.endswith("…")


TOKENS = ["<think>", "</think>", "<answer>", "</answer>", GOOD, "{", "}", "[", '"bbox"', ":", "1e400", "NaN", " ", "é"]


@given(st.one_of(st.text(), st.lists(st.sampled_from(TOKENS), max_size=12).map("".join)), st.booleans())
def test_no_text_makes_the_reader_fall(text: str, think: bool) -> None:
    answer = parse(text, FRAME, think=think)
    if isinstance(answer, Grounding):
        assert answer.box.within()


@given(st.text())
def test_no_text_makes_the_json_reader_fall(text: str) -> None:
    assert isinstance(load_object(text), dict | NoAnswer)
