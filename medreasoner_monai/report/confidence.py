"""What confidence is worth, as two small figures: quality over coverage, and quality over confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from medreasoner_monai.training.curves import GRID, INK, LINE, MUTED, svg

WRONG = "#c0552b"


def confidence_figures(confidence: Mapping[str, Any]) -> dict[str, Figure]:
    """Figures of the ``confidence`` part of ``metrics.json``.

    ``coverage``: mean box IoU of the answers given, over the share given when the least sure are kept back.
    ``calibration``: mean box IoU over confidence, a dot a bin, its size by how many answers are in it.
    """
    curve = confidence["risk_coverage"]
    coverage, axes = _empty("Box IoU over share answered")
    axes.plot([p["coverage"] for p in curve], [p["quality"] for p in curve], color=LINE, linewidth=1.8)
    axes.axhline(curve[-1]["quality"], color=MUTED, linewidth=0.9, linestyle=":")
    bins = confidence["calibration"]["bins"]
    total = sum(b["n"] for b in bins)
    calibration, axes = _empty("Box IoU over confidence")
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=":")
    axes.plot([b["confidence"] for b in bins], [b["quality"] for b in bins], color=LINE, linewidth=1.2)
    sizes = [12 + 160 * b["n"] / total for b in bins]
    axes.scatter([b["confidence"] for b in bins], [b["quality"] for b in bins], s=sizes, color=LINE)
    return {"coverage": coverage, "calibration": calibration}


def presence_figure(curve: Sequence[Mapping[str, float]]) -> Figure:
    """Both rates of mistakes about presence over the threshold on confidence; the last step withholds every region.

    Parameters
    ----------
    curve:
        As :func:`~medreasoner_monai.evaluation.presence.presence_curve` gives it.
    """
    figure, axes = _empty("Mistakes over the threshold")
    # A point holds from the threshold before it up to its own.
    limits = [p["threshold"] for p in curve]
    for name, label, colour, style in (
        ("false_positive_rate", "absent: region given", WRONG, "-"),
        ("false_negative_rate", "present: none given", LINE, "--"),
    ):
        axes.step(limits, [p[name] for p in curve], where="pre", color=colour, linestyle=style, linewidth=1.8,
                  label=label)  # fmt: skip
    legend = axes.legend(loc="best", fontsize=8.5, frameon=False)
    for text in legend.get_texts():
        text.set_color(INK)
    return figure


def presence_svg(curve: Sequence[Mapping[str, float]], prefix: str) -> str:
    """The figure as an ``<svg>`` element; ``prefix`` keeps ids apart from other figures' ids."""
    return svg(presence_figure(curve), f"{prefix}-presence")


def confidence_svgs(confidence: Mapping[str, Any], prefix: str) -> list[str]:
    """The figures as ``<svg>`` elements; ``prefix`` keeps ids apart from other figures' ids."""
    return [svg(figure, f"{prefix}-{name}") for name, figure in confidence_figures(confidence).items()]


def _empty(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.4, 2.6))
    axes = figure.add_axes((0.13, 0.11, 0.83, 0.74))
    figure.text(0.02, 0.91, title, fontsize=10.5, fontweight="bold", color=INK)
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    axes.tick_params(labelsize=9, labelcolor=MUTED, color=GRID, length=3)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    return figure, axes
