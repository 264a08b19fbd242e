"""The reward terms against values worked out by hand, and against a second, plain formulation of the method."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medreasoner_monai.rewards import suite
from medreasoner_monai.rewards.terms import sexp, slog
from medreasoner_monai.task.geometry import Frame

FRAME = Frame(200, 150, "model")
TRUE_BOX = (20.0, 30.0, 80.0, 110.0)  # 60 x 80, diagonal 100
TRUE_POINTS = ((40.0, 50.0), (60.0, 90.0))
TRUTH = json.dumps({"bbox_2d": TRUE_BOX, "point_2d": TRUE_POINTS})

Pair = tuple[tuple[float, float], tuple[float, float]]
BoxValues = tuple[float, float, float, float]


def completion(box: object = TRUE_BOX, points: object = TRUE_POINTS, think: str = "why") -> str:
    first, second = points  # type: ignore[misc]
    answer = json.dumps({"bbox": box, "points_1": first, "points_2": second})
    return f"<think>{think}</think><answer>{answer}</answer>"


def scores(text: str, name: str = "hard", **options: object) -> dict[str, float]:
    found = suite(name, **options).score([text], [TRUTH], [FRAME])  # type: ignore[arg-type]
    return {term: float(values[0]) for term, values in found.items()}


def test_perfect_answer_gets_everything() -> None:
    assert scores(completion(), "soft")["score"] == pytest.approx(4)
    assert scores(completion(), "hard")["score"] == pytest.approx(8)
    assert scores(completion(), "base")["score"] == pytest.approx(5)


def test_helpers_pass_through_their_fixed_points() -> None:
    assert slog(np.array([0.0, 1.0])) == pytest.approx([0.1, 1])
    for centre in (0.5, 1):
        assert sexp(np.array([0.0, 2.0]), centre) == pytest.approx([1, 0.1])
    assert sexp(np.array([1.0]), 1) == pytest.approx(0.55)  # the logistic is symmetric about its centre


def test_box_half_as_wide_by_hand() -> None:
    found = scores(completion(box=[20, 30, 50, 110]))
    # IoU 1/2: slog = 0.1 + 0.9 ln 2.5 / ln 4 = 0.69488. Of the true points (60, 90) is outside: 0.5. Half the area is
    # not strictly within (0.5, 2): 0.5. Hence 0.69488 x (0.7 + 0.3 x 0.5) = 0.59065.
    assert found["bbox_iou"] == pytest.approx(0.5906, abs=1e-4)
    # Edges are off by 0, 0, 30, 0: 7.5 of a diagonal of 100. logistic(0.075) = 0.94131, (0) = 0.95257, (2) = 0.04743:
    # 0.1 + 0.9 x 0.98755 = 0.98879, penalised as above.
    assert found["bbox_align"] == pytest.approx(0.8405, abs=1e-4)
    # ln of area and of aspect are both off by ln 2: sqrt(2) ln 2 = 0.980. logistic(0.980; 0.5) = 0.19142,
    # (0) = 0.81757, (2) = 0.01099: 0.1 + 0.9 x 0.22369 = 0.30132, penalised as above.
    assert found["bbox_scale"] == pytest.approx(0.2561, abs=1e-4)


def test_points_a_quarter_turn_off_by_hand() -> None:
    # The same circle (centre (50, 70), radius sqrt(500)), but the diameter is turned by 90 degrees.
    found = scores(completion(points=[(70, 60), (30, 80)]))
    assert found["points_dice"] == pytest.approx(1)
    assert found["points_angle"] == pytest.approx(0.1)
    # (70, 60) to (60, 90) is 10 and 30, (30, 80) to (40, 50) the same: a mean of 20 of 100 whichever way they are
    # paired. logistic(0.2; 1) = 0.91683: 0.1 + 0.9 x (0.91683 - 0.04743) / 0.90515 = 0.96446.
    assert found["points_align"] == pytest.approx(0.9645, abs=1e-4)


def test_points_too_near_to_each_other_and_outside_the_box_by_hand() -> None:
    # 10 px apart is not more than 10; both lie left of the true box: (0.25 + 0.5) / 2 = 0.375, so 0.7 + 0.1125.
    found = scores(completion(points=[(5, 50), (5, 60)]))
    assert found["points_dice"] == pytest.approx(0.1 * 0.8125, abs=1e-4)
    cosine = 20 * 2 / math.hypot(20, 40)  # (0, 10) against (20, 40), both over 10
    assert cosine == pytest.approx(2 * math.sqrt(0.2))
    slogged = 0.1 + 0.9 * math.log(3 * 40 / math.hypot(20, 40) + 1) / math.log(4)
    assert found["points_angle"] == pytest.approx(slogged * 0.8125, abs=1e-4)


def test_released_overlap_saturates_where_dice_does_not() -> None:
    text = completion(points=[(42, 52), (62, 92)])
    dice = scores(text, "soft")
    released = scores(text, "soft", point_overlap="released")
    assert dice["points_dice"] < 1 == released["points_dice"]


@pytest.mark.parametrize(
    ("text", "think", "answer"),
    [
        ("", 0, 0),
        ("It is on the left.", 0, 0),
        ("<think>why</think>", 1, 0),
        ("<think> </think>", 0.2, 0),
        ("</think>why<think>", 0, 0),
        (completion(think=""), 0.2, 1),
        ("<think>why</think><answer>left</answer>", 1, 0.2),
        ("<think>why</think><answer>[1, 2]</answer>", 1, 0.2),
        ('<think>why</think><answer>{"bbox": [1, 2, 3, 4]}</answer>', 1, 0.4),
        (completion(box=[1], points=[[1], [2]]), 1, 0.4),
        (completion(box=[1, 2, 3]), 1, 0.6),
        (completion(points=[[1, 2], [3]]), 1, 0.6),
        (completion(box=[80, 30, 20, 110]), 1, 0.6),
        (completion(box=[20, 30, 80, 1100]), 1, 0.6),
        (completion(box=[True, True, True, True]), 1, 0.6),
        (completion()[len("<think>why</think>") :], 0, 1),
        (completion() + completion(), 0, 0),
    ],
)
def test_format_scores_by_what_is_wrong(text: str, think: float, answer: float) -> None:
    found = scores(text)
    assert (found["format_think"], found["format_answer"]) == (think, answer)
    if text != completion():
        assert found["score"] == pytest.approx(think + answer), "what cannot be read earns nothing by geometry"


@pytest.mark.parametrize(
    "text",
    [
        completion(box=[80, 30, 20, 110]),
        completion(box=[float("nan"), 30, 80, 110]),
        completion(box=[True, True, True, True]),
        completion(box=[2000, 3000, 8000, 11000]),
        completion() * 2,
        "<answer></answer><think></think>",
    ],
)
@pytest.mark.parametrize("name", ["base", "soft", "hard"])
def test_malformed_answer_earns_no_geometry(text: str, name: str) -> None:
    found = scores(text, name)
    geometry = {k: v for k, v in found.items() if k not in ("format_think", "format_answer", "base_string", "score")}
    assert set(geometry.values()) == {0}
    assert math.isfinite(found["score"])


def test_base_terms_at_their_limits() -> None:
    assert scores(completion(box=[20, 30, 50, 110]), "base")["base_iou"] == 0  # exactly a half is not more than it
    assert scores(completion(box=[20, 30, 51, 110]), "base")["base_iou"] == 1
    assert scores(completion(box=[20, 30, 120, 110]), "base")["base_edges"] == 0  # 40 / 4 is not under 10
    assert scores(completion(points=[(40, 50), (81, 90)]), "base")["base_points"] == 0  # outside the answer's box
    text = "so: <think>why</think><answer>{}</answer>"
    assert scores(text, "base")["base_string"] == 0


# A second formulation, number by number and without arrays, straight from the method's table.


def plain_slog(v: float) -> float:
    return 0.1 + 0.9 * math.log(3 * v + 1) / math.log(4)


def plain_sexp(v: float, c: float) -> float:
    low, high, here = (1 / (1 + math.exp(3 * (x - c))) for x in (2, 0, v))
    return 0.1 + 0.9 * (here - low) / (high - low)


def plain_penalty(r: float, a: float, b: float) -> float:
    return round(min(max(0.7 * r + 0.3 * r * (a + b) / 2, 0), 1), 4)


def holds(box: BoxValues, p: tuple[float, float]) -> bool:
    return box[0] <= p[0] <= box[2] and box[1] <= p[1] <= box[3]


def circle_overlap(p: Pair, q: Pair) -> float:
    """Dice of two circles by integrating their chords over x."""
    (px, py, pr), (qx, qy, qr) = (((a[0] + b[0]) / 2, (a[1] + b[1]) / 2, math.dist(a, b) / 2) for a, b in (p, q))
    if not pr + qr:
        return 0.0
    inter, steps = 0.0, 4000
    left, right = max(px - pr, qx - qr), min(px + pr, qx + qr)
    for k in range(steps if right > left else 0):
        x = left + (right - left) * (k + 0.5) / steps
        a, b = math.sqrt(max(pr**2 - (x - px) ** 2, 0)), math.sqrt(max(qr**2 - (x - qx) ** 2, 0))
        inter += max(min(py + a, qy + b) - max(py - a, qy - b), 0) * (right - left) / steps
    return 2 * inter / (math.pi * (pr**2 + qr**2))


def plain_hard(box: BoxValues, points: Pair) -> dict[str, float]:
    true, marks = TRUE_BOX, TRUE_POINTS
    width, height, area = box[2] - box[0], box[3] - box[1], (box[2] - box[0]) * (box[3] - box[1])
    true_width, true_height = true[2] - true[0], true[3] - true[1]
    diagonal = math.hypot(true_width, true_height)
    inter = max(min(box[2], true[2]) - max(box[0], true[0]), 0) * max(min(box[3], true[3]) - max(box[1], true[1]), 0)
    iou = inter / (area + true_width * true_height - inter)
    position = math.prod(1 if holds(box, p) else 0.5 for p in marks)
    size = 1 if 0.5 < area / (true_width * true_height) < 2 else 0.5
    edges = sum(abs(a - b) for a, b in zip(box, true, strict=True)) / 4
    scale = math.hypot(
        math.log(area / (true_width * true_height)), math.log(width / height) - math.log(true_width / true_height)
    )
    at = math.prod(1 if holds(true, p) else 0.5 for p in points)
    apart = 1 if math.dist(*points) > 10 else 0.5
    offsets = [
        sum((abs(p[0] - m[0]) + abs(p[1] - m[1])) / 2 for p, m in zip(points, order, strict=True)) / 2
        for order in (marks, marks[::-1])
    ]
    u = (points[1][0] - points[0][0], points[1][1] - points[0][1])
    v = (marks[1][0] - marks[0][0], marks[1][1] - marks[0][1])
    length = math.hypot(*u) * math.hypot(*v)
    cosine = min(abs(u[0] * v[0] + u[1] * v[1]) / length, 1) if length else 0
    return {
        "format_think": 1,
        "format_answer": 1,
        "bbox_iou": plain_penalty(plain_slog(iou), position, size),
        "bbox_align": plain_penalty(plain_sexp(min(edges / diagonal, 2), 1), position, size),
        "bbox_scale": plain_penalty(plain_sexp(min(scale, 1), 0.5), position, size),
        "points_dice": plain_penalty(plain_slog(circle_overlap(points, marks)), at, apart),
        "points_align": plain_penalty(plain_sexp(min(min(offsets) / diagonal, 2), 1), at, apart),
        "points_angle": plain_penalty(plain_slog(cosine), at, apart),
    }


@st.composite
def answers(draw: st.DrawFn) -> tuple[BoxValues, Pair]:
    xs = sorted(draw(st.lists(st.integers(0, FRAME.width), min_size=2, max_size=2, unique=True)))
    ys = sorted(draw(st.lists(st.integers(0, FRAME.height), min_size=2, max_size=2, unique=True)))
    at = st.tuples(st.integers(0, FRAME.width), st.integers(0, FRAME.height))
    return (xs[0], ys[0], xs[1], ys[1]), (draw(at), draw(at))


@settings(max_examples=80)
@given(answers())
def test_every_answer_scores_as_the_second_formulation_says(answer: tuple[BoxValues, Pair]) -> None:
    box, points = answer
    expected = plain_hard(box, points)
    found = scores(completion(box, points))
    total = found.pop("score")
    assert found == pytest.approx(expected, abs=3e-4)
    assert total == pytest.approx(sum(expected.values()), abs=1e-3)
    soft = scores(completion(box, points), "soft")
    assert soft["score"] == pytest.approx(sum(expected[k] for k in soft if k != "score"), abs=1e-3)


@given(answers())
def test_scores_stay_in_their_bounds(answer: tuple[BoxValues, Pair]) -> None:
    for name, most in (("base", 5), ("soft", 4), ("hard", 8)):
        found = scores(completion(*answer), name)
        assert 0 <= found.pop("score") <= most
        assert all(0 <= v <= 1 for v in found.values())


def test_box_too_small_for_a_float_s_area_still_has_a_finite_score() -> None:
    text = completion(box=[0, 0, 1e-200, 1e-200], points=[(0, 0), (1e-300, 0)])
    assert all(math.isfinite(v) for v in scores(text).values())
