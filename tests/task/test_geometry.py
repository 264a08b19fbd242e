"""Shapes and measures, each against a second source: closed forms, rasterised pictures, torchvision."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou as torch_iou
from torchvision.ops import generalized_box_iou

from medreasoner_monai.task import geometry as g
from medreasoner_monai.task.geometry import Box, Frame, Points

SIZES = st.integers(1, 4000)
COORDINATES = st.floats(0, 200, allow_nan=False)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[float, float, float, float]:
    x, y = draw(COORDINATES), draw(COORDINATES)
    return x, y, x + draw(st.floats(1, 100)), y + draw(st.floats(1, 100))


def circle(pair: np.ndarray, size: int, fine: int = 4) -> np.ndarray:
    """The circle with two points as a diameter, drawn on a grid of ``fine`` samples a pixel."""
    centre, radius = pair.mean(axis=0), np.linalg.norm(pair[0] - pair[1]) / 2
    grid = (np.arange(size * fine) + 0.5) / fine
    return (grid[None, :] - centre[0]) ** 2 + (grid[:, None] - centre[1]) ** 2 <= radius**2


@given(boxes(), st.tuples(SIZES, SIZES), st.tuples(SIZES, SIZES))
def test_conversion_and_back_is_the_same_box(
    xyxy: tuple[float, float, float, float], stored: tuple[int, int], model: tuple[int, int]
) -> None:
    frame = Frame(*stored)
    there = g.convert(Box(*xyxy, frame), Frame(*model, "model"))
    assert there.frame.space == "model"
    assert g.convert(there, frame).xyxy == pytest.approx(xyxy, abs=1e-6)


def test_conversion_keeps_the_picture_s_corner_and_middle() -> None:
    points = Points((841.0, 333.0), (420.5, 166.5), Frame(841, 333))
    first, second = g.convert(points, Frame(112, 56, "model")).xy
    assert first == pytest.approx((112, 56)) and second == pytest.approx((56, 28))


@pytest.mark.parametrize("xyxy", [(5, 0, 5, 9), (0, 9, 5, 9), (6, 0, 5, 9), (math.nan, 0, 5, 9), (0, 0, math.inf, 9)])
def test_box_that_is_none_is_refused(xyxy: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match=r"finite|x2 > x1"):
        Box(*xyxy, Frame(10, 10))


def test_point_at_infinity_and_frame_without_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        Points((0, 0), (math.inf, 1), Frame(10, 10))
    with pytest.raises(ValueError, match="at least one pixel"):
        Frame(0, 4)


def test_box_knows_whether_it_lies_in_its_frame() -> None:
    assert Box(0, 0, 10, 20, Frame(10, 20)).within()
    assert not Box(0, 0, 10.4, 20, Frame(10, 20)).within()
    assert Box(-0.4, 0, 10.4, 20, Frame(10, 20)).within(slack=0.5)


def test_iou_of_two_squares_by_hand() -> None:
    assert g.box_iou([0, 0, 10, 10], [5, 5, 15, 15])[0] == pytest.approx(25 / 175)
    assert g.box_iou([0, 0, 10, 10], [10, 0, 20, 10])[0] == 0
    assert g.box_iou([9, 9, 1, 1], [0, 0, 10, 10])[0] == 0  # an inverted box has no area


@given(st.lists(st.tuples(boxes(), boxes()), min_size=1, max_size=8))
def test_iou_and_generalised_iou_agree_with_torchvision(
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]],
) -> None:
    a, b = ([list(p[k]) for p in pairs] for k in (0, 1))
    left, right = torch.tensor(a, dtype=torch.float64), torch.tensor(b, dtype=torch.float64)
    assert g.box_iou(a, b) == pytest.approx(torch_iou(left, right).diagonal().numpy(), abs=1e-9)
    assert g.generalised_iou(a, b) == pytest.approx(generalized_box_iou(left, right).diagonal().numpy(), abs=1e-9)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([[10, 20], [40, 20]], [[20, 22], [50, 28]]),  # a lens
        ([[10, 30], [50, 30]], [[25, 28], [33, 34]]),  # one inside the other
        ([[5, 5], [15, 15]], [[40, 40], [55, 50]]),  # apart
        ([[10, 10], [40, 44]], [[38, 40], [12, 14]]),
    ],
)
def test_circle_dice_agrees_with_drawn_circles(a: list[list[float]], b: list[list[float]]) -> None:
    first, second = circle(np.array(a, float), 64), circle(np.array(b, float), 64)
    inter, total = (first & second).sum(), first.sum() + second.sum()
    assert g.circle_dice(a, b)[0] == pytest.approx(2 * inter / total, abs=0.01)
    assert g.released_pdice(a, b)[0] == pytest.approx(2 * inter / (total - inter), abs=0.02)


@settings(max_examples=25)
@given(st.lists(st.integers(8, 56), min_size=8, max_size=8))
def test_circle_dice_agrees_with_any_drawn_circles(values: list[int]) -> None:
    a, b = np.array(values, float).reshape(2, 2, 2)
    if min(g.point_spread([a, b])) < 8:
        return
    first, second = circle(a, 96), circle(b, 96)  # circles may reach over the edge, hence the small slack
    inside = [p.mean(axis=0) - np.linalg.norm(p[0] - p[1]) / 2 for p in (a, b)]
    if min(v.min() for v in inside) < 0:
        return
    expected = 2 * (first & second).sum() / (first.sum() + second.sum())
    assert g.circle_dice(a, b)[0] == pytest.approx(expected, abs=0.02)


def test_released_pdice_of_a_perfect_pair_is_two_and_dice_is_one() -> None:
    pair = [[3, 4], [20, 9]]
    assert g.released_pdice(pair, pair)[0] == pytest.approx(2)
    assert g.circle_dice(pair, pair)[0] == pytest.approx(1)


def test_order_of_points_has_no_meaning() -> None:
    a, b = [[3, 4], [20, 9]], [[5, 5], [18, 11]]
    for measure in (g.circle_dice, g.released_pdice, g.point_offset, g.point_distance, g.axis_cosine):
        assert measure(a, b)[0] == pytest.approx(measure(a[::-1], b)[0])


def test_points_that_coincide_span_nothing() -> None:
    dot, pair = [[5, 5], [5, 5]], [[3, 4], [20, 9]]
    assert g.circle_dice(dot, pair)[0] == g.circle_dice(dot, dot)[0] == g.released_pdice(dot, dot)[0] == 0
    assert g.axis_cosine(dot, pair)[0] == 0


def test_point_measures_by_hand() -> None:
    a, b = [[0, 0], [10, 0]], [[13, 4], [3, 4]]  # crossed: (0,0)-(3,4) and (10,0)-(13,4)
    assert g.point_offset(a, b)[0] == pytest.approx((3 + 4) / 2)
    assert g.point_distance(a, b)[0] == pytest.approx(5)
    assert g.point_spread([[0, 0], [6, 8]])[0] == 10
    assert g.axis_cosine([[0, 0], [1, 0]], [[0, 0], [1, 1]])[0] == pytest.approx(math.sqrt(0.5))


def test_box_measures_by_hand() -> None:
    assert g.box_edge_offset([0, 0, 10, 10], [1, 2, 13, 14])[0] == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert g.box_diagonal([1, 1, 4, 5])[0] == 5
    # Twice as wide: ln of the area ratio is ln 2, ln of the aspect ratio as well.
    assert g.box_scale_gap([0, 0, 20, 10], [0, 0, 10, 10])[0] == pytest.approx(math.sqrt(2) * math.log(2))


def test_point_on_the_edge_is_inside() -> None:
    assert g.inside_box([[0, 0], [10.01, 5]], [0, 0, 10, 10]).tolist() == [[True, False]]


@given(boxes(), boxes())
def test_measures_stay_in_their_range(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    p, q = np.array(a).reshape(2, 2), np.array(b).reshape(2, 2)
    assert 0 <= g.box_iou(a, b)[0] <= 1 + 1e-12
    assert -1 <= g.generalised_iou(a, b)[0] <= 1 + 1e-12
    assert 0 <= g.circle_dice(p, q)[0] <= 1 + 1e-9
    assert 0 <= g.axis_cosine(p, q)[0] <= 1
