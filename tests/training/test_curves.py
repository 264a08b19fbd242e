"""Curves: one figure a quantity, as pictures and as SVG."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from medreasoner_monai.training.curves import curve_figures, curve_svgs, save_curves

ROWS = [
    {"step": s, "loss": 1 / s, "reward": s, "rewards/box_iou/mean": 0.5, "rewards/box_iou/std": 0.1, "num_tokens": s}
    for s in range(1, 6)
]


def test_total_reward_then_its_terms_and_no_bookkeeping() -> None:
    assert list(curve_figures(ROWS)) == ["reward", "reward_box_iou", "loss"]


def test_without_rewards_the_loss_comes_first() -> None:
    rows = [{"step": 1, "learning_rate": 1e-3, "loss": 2.0, "eval_loss": 2.1}]
    assert list(curve_figures(rows)) == ["loss", "eval_loss", "learning_rate"]


def test_of_validation_only_what_a_checkpoint_is_chosen_by_is_drawn() -> None:
    checked = {"step": 5, "eval_loss": 1e-4, "eval_reward": 3.1, "eval_runtime": 2.0, "eval_samples_per_second": 40.0}
    assert list(curve_figures([*ROWS, checked])) == ["reward", "reward_box_iou", "eval_reward", "loss"]


def test_no_rows_and_no_finite_values_make_no_figure() -> None:
    assert curve_figures([]) == {}
    assert curve_figures([{"step": 1, "kl": float("nan")}, {"step": 2}]) == {}


def test_values_that_are_not_finite_are_left_out() -> None:
    figure = curve_figures([{"step": 1, "kl": 0.1}, {"step": 2, "kl": float("inf")}, {"step": 3, "kl": 0.3}])["kl"]
    assert np.asarray(figure.axes[0].lines[0].get_xdata()).tolist() == [1, 3]


def test_pictures_for_the_tracker(tmp_path: Path) -> None:
    paths = save_curves(ROWS, tmp_path / "curves")
    assert [p.name for p in paths] == ["reward.png", "reward_box_iou.png", "loss.png"]
    with Image.open(paths[0]) as image:
        assert image.width > 600 and "Software" not in image.info


def test_svgs_take_the_colours_of_the_page_and_keep_their_ids_apart() -> None:
    first, second = curve_svgs(ROWS[:1], "a")[0], curve_svgs(ROWS[:1], "b")[0]
    assert "var(--accent)" in first and "#0f7285" not in first
    assert "<metadata" not in first and "http" not in first.split(">", 1)[0]
    assert 'id="a-' in first and 'id="b-' not in first and 'id="b-' in second
    assert first == curve_svgs(ROWS[:1], "a")[0]
