"""The reward terms: each a function from a batch to one value a completion. Formulas: method, section Rewards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from medreasoner_monai.rewards.batch import Batch
from medreasoner_monai.task import geometry as g
from medreasoner_monai.task.geometry import Array

Term = Callable[[Batch], Array]


def slog(v: Array) -> Array:
    """``0.1 + 0.9 ln(3v + 1) / ln 4``: 0.1 at 0, 1 at 1, steep at the start."""
    return 0.1 + 0.9 * np.log(3 * v + 1) / np.log(4)


def sexp(v: Array, centre: float) -> Array:
    """The logistic ``1 / (1 + e^(3 (v - c)))``, rescaled to 1 at v = 0 and 0 at v = 2; then 0.1 + 0.9 of it."""

    def logistic(x: Array | float) -> Array:
        return 1 / (1 + np.exp(3 * (np.asarray(x, dtype=float) - centre)))

    scaled = (logistic(v) - logistic(2.0)) / (logistic(0.0) - logistic(2.0))
    return 0.1 + 0.9 * scaled


def penalise(r: Array, a: Array, b: Array) -> Array:
    """``clip(0.7 r + 0.3 r (a + b) / 2, 0, 1)`` rounded to 4 places; a and b are 1 or less where something is off."""
    value: Array = np.clip(0.7 * r + 0.3 * r * (a + b) / 2, 0, 1)
    return np.round(value, 4)


def _box_penalties(b: Batch) -> tuple[Array, Array]:
    position = np.where(g.inside_box(b.true_points, b.boxes), 1.0, 0.5).prod(axis=1)
    ratio = g.box_area(b.boxes) / g.box_area(b.true_boxes)
    return position, np.where((ratio > 0.5) & (ratio < 2), 1.0, 0.5)


def _point_penalties(b: Batch) -> tuple[Array, Array]:
    position = np.where(g.inside_box(b.points, b.true_boxes), 1.0, 0.5).prod(axis=1)
    return position, np.where(g.point_spread(b.points) > 10, 1.0, 0.5)


def format_think(b: Batch) -> Array:
    """0 no block, 0.2 an empty one, 1 otherwise."""
    return b.think


def format_answer(b: Batch) -> Array:
    """0 no block; 0.2 not a JSON object; 0.4 keys wrong, or box and points both malformed; 0.6 one of them; 1."""
    return b.answer


def bbox_iou(b: Batch) -> Array:
    """``pen(slog(IoU))``."""
    return b.spread(penalise(slog(g.box_iou(b.boxes, b.true_boxes)), *_box_penalties(b)))


def bbox_align(b: Batch) -> Array:
    """``pen(sexp(mean edge difference / true diagonal, capped at 2; 1))``."""
    gap = np.clip(g.box_edge_offset(b.boxes, b.true_boxes) / g.box_diagonal(b.true_boxes), 0, 2)
    return b.spread(penalise(sexp(gap, 1), *_box_penalties(b)))


def bbox_scale(b: Batch) -> Array:
    """``pen(sexp(size and shape gap, capped at 1; 0.5))``."""
    gap = np.clip(g.box_scale_gap(b.boxes, b.true_boxes), 0, 1)
    return b.spread(penalise(sexp(gap, 0.5), *_box_penalties(b)))


def points_dice(b: Batch) -> Array:
    """``pen(slog(Dice))`` of the circles that have the points as a diameter."""
    return b.spread(penalise(slog(g.circle_dice(b.points, b.true_points)), *_point_penalties(b)))


def points_released(b: Batch) -> Array:
    """``pen(slog(2 I / union))`` as the released code has it; saturates from a circle IoU of a half on."""
    return b.spread(penalise(slog(g.released_pdice(b.points, b.true_points)), *_point_penalties(b)))


def points_align(b: Batch) -> Array:
    """``pen(sexp(better pairing's mean offset / true diagonal, capped at 2; 1))``."""
    gap = np.clip(g.point_offset(b.points, b.true_points) / g.box_diagonal(b.true_boxes), 0, 2)
    return b.spread(penalise(sexp(gap, 1), *_point_penalties(b)))


def points_angle(b: Batch) -> Array:
    """``pen(slog(|cos| between the lines through the points))``."""
    return b.spread(penalise(slog(g.axis_cosine(b.points, b.true_points)), *_point_penalties(b)))


def base_string(b: Batch) -> Array:
    """1 when the whole completion is one think and one answer block with content."""
    return ((b.think == 1) & (b.answer > 0.2)).astype(float)


def base_keys(b: Batch) -> Array:
    """1 when the JSON has the keys and readable values."""
    return (b.answer == 1).astype(float)


def base_iou(b: Batch) -> Array:
    """1 when IoU > 0.5."""
    return b.spread((g.box_iou(b.boxes, b.true_boxes) > 0.5).astype(float))


def base_edges(b: Batch) -> Array:
    """1 when the mean edge difference is under 10 px."""
    return b.spread((g.box_edge_offset(b.boxes, b.true_boxes) < 10).astype(float))


def base_points(b: Batch) -> Array:
    """1 when both points lie in the answer's box and their mean paired distance is under 100 px."""
    inside = g.inside_box(b.points, b.boxes).all(axis=1)
    return b.spread((inside & (g.point_distance(b.points, b.true_points) < 100)).astype(float))


def abstention(b: Batch) -> Array:
    """1 when there is nothing to find and the answer says so."""
    return (b.empty & b.abstained).astype(float)


def presence(b: Batch) -> Array:
    """1 when there is something to find and the answer has a region, wherever it lies."""
    return b.readable.astype(float)
