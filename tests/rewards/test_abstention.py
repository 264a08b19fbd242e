"""Saying that there is nothing to find pays where it is true and nowhere else, and no one answer to everything pays."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.rewards import suite
from medreasoner_monai.task.answer import render, render_nothing
from medreasoner_monai.task.geometry import Box, Frame, Points

FRAME = Frame(112, 84, "model")
NOTHING = render_nothing("No area fits.")
ABSENT = json.dumps({"bbox_2d": None, "point_2d": None})
HONEST, SILENT, EAGER = "honest", "always nothing", "always a region"


@st.composite
def regions(draw: st.DrawFn) -> tuple[Box, Points]:
    """A box anywhere in the frame, with two points in it."""
    x1, y1 = draw(st.integers(0, FRAME.width - 2)), draw(st.integers(0, FRAME.height - 2))
    x2, y2 = draw(st.integers(x1 + 1, FRAME.width)), draw(st.integers(y1 + 1, FRAME.height))
    first, second = ((draw(st.integers(x1, x2)), draw(st.integers(y1, y2))) for _ in range(2))
    return Box(x1, y1, x2, y2, FRAME), Points(first, second, FRAME)


def answer(region: tuple[Box, Points]) -> str:
    return render("An area fits.", *region)


def truth(region: tuple[Box, Points]) -> str:
    box, points = region
    return json.dumps({"bbox_2d": box.xyxy, "point_2d": points.xy})


def earned(texts: list[str], truths: list[str], absent: float = 1.0, present: float = 1.0) -> np.ndarray:
    chosen = suite("abstain", weights={"abstention": absent, "presence": present})
    return chosen.score(texts, truths, [FRAME] * len(texts))["score"]


weights = st.floats(0.01, 10)


@given(regions(), regions(), weights, st.floats(0, 10))
def test_where_there_is_a_target_any_region_earns_more_than_nothing(
    said: tuple[Box, Points], true: tuple[Box, Points], absent: float, present: float
) -> None:
    region, nothing = earned([answer(said), NOTHING], [truth(true)] * 2, absent, present)
    assert nothing == pytest.approx(2)  # both formats
    # Both overlaps are worth at least slog(0) = 0.1, of which the penalties leave 0.7 + 0.3 * (0.25 + 0.5) / 2.
    least = 0.1 * (0.7 + 0.3 * 0.375) - 5e-5  # penalties round to four places
    assert region >= 2 + 2 * least + present - 1e-9


@given(regions(), weights, st.floats(0, 10))
def test_where_there_is_none_any_region_earns_less_by_the_weight(
    said: tuple[Box, Points], absent: float, present: float
) -> None:
    region, nothing = earned([answer(said), NOTHING], [ABSENT] * 2, absent, present)
    assert region == pytest.approx(2) and nothing == pytest.approx(2 + absent)


@given(st.lists(st.tuples(regions(), st.booleans()), min_size=1, max_size=8), regions(), weights, weights)
def test_no_one_answer_to_everything_earns_more_than_an_honest_one(
    asked: list[tuple[tuple[Box, Points], bool]], guess: tuple[Box, Points], absent: float, present: float
) -> None:
    """Whatever share of the targets is absent. The honest model finds them no better than the eager one does."""
    truths = [truth(true) if there else ABSENT for true, there in asked]
    policies = {
        HONEST: [answer(guess) if there else NOTHING for _, there in asked],
        SILENT: [NOTHING] * len(asked),
        EAGER: [answer(guess)] * len(asked),
    }
    total = {name: earned(texts, truths, absent, present).sum() for name, texts in policies.items()}
    shown = sum(there for _, there in asked)
    # Each wrong decision costs at least its weight.
    assert total[HONEST] >= total[SILENT] + present * shown - 1e-6
    assert total[HONEST] >= total[EAGER] + absent * (len(asked) - shown) - 1e-6


@pytest.mark.parametrize(("absent", "present"), [(0.5, 0.5), (1.0, 1.0), (3.0, 1.0), (1.0, 0.0), (5.0, 2.0)])
def test_one_who_is_not_sure_should_answer_up_to_a_known_doubt(absent: float, present: float) -> None:
    """With a probability q that it is absent, nothing earns q a, a region (1 - q)(p + overlap): equal at q below."""
    region = (Box(20, 30, 80, 70, FRAME), Points((40, 50), (60, 60), FRAME))
    said = (Box(30, 30, 90, 70, FRAME), Points((40, 50), (65, 60), FRAME))
    there = earned([answer(said), NOTHING], [truth(region)] * 2, absent, present) - 2
    missing = earned([answer(said), NOTHING], [ABSENT] * 2, absent, present) - 2
    overlap = there[0] - present
    doubt = (present + overlap) / (absent + present + overlap)
    for q, best in ((doubt - 0.01, 0), (doubt + 0.01, 1)):
        assert np.argmax((1 - q) * there + q * missing) == best


@pytest.mark.parametrize("name", ["soft", "hard"])
def test_other_suites_pay_nothing_for_an_honest_no(name: str) -> None:
    """Why data with absent targets needs this suite: with another one a region costs nothing and may earn something."""
    region = (Box(20, 30, 80, 70, FRAME), Points((40, 50), (60, 60), FRAME))
    said, nothing = suite(name).score([answer(region), NOTHING], [ABSENT] * 2, [FRAME] * 2)["score"]
    assert said == nothing


def test_an_answer_that_cannot_be_read_earns_less_than_either() -> None:
    region = (Box(20, 30, 80, 70, FRAME), Points((40, 50), (60, 60), FRAME))
    half = '<think>why</think><answer>{"bbox": null, "points_1": [40, 50], "points_2": [60, 60]}</answer>'
    for true in (truth(region), ABSENT):
        garbled, mixed, *readable = earned(["there is none", half, answer(region), NOTHING], [true] * 4)
        assert garbled < mixed < min(readable)
