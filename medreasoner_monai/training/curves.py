"""Training curves, one small figure a quantity: pictures for the tracker, and SVG in the page's own colours."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from medreasoner_monai.training.rows import number

Rows = Sequence[Mapping[str, Any]]

# Column to title, in the order of the page; TRL's names. Columns beside these and the reward terms are bookkeeping.
_TITLES = {
    "loss": "Loss",
    "mean_token_accuracy": "Token accuracy",
    "reward": "Reward, all terms",
    "kl": "KL to the cold start",
    "entropy": "Entropy, nats a token",
    "completions/mean_length": "Completion length, tokens",
    "completions/clipped_ratio": "Completions cut off",
    "learning_rate": "Learning rate",
    "grad_norm": "Gradient norm",
}
# What a checkpoint is chosen by: the first that is there.
_CHECKS = {"eval_reward": "Reward on validation, greedy", "eval_loss": "Loss on validation"}
_TERM = re.compile(r"rewards/(?P<name>.+?)(?:/mean)?")
INK, MUTED, GRID, LINE = "#1b2a36", "#5c6b78", "#dfe5ea", "#0f7285"
_THEME = {INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--line)", LINE: "var(--accent)"}
_SMOOTH_FROM = 20


def curve_figures(rows: Rows) -> dict[str, Figure]:
    """A figure a quantity, by a name fit for a file.

    Parameters
    ----------
    rows:
        One a logged step: ``step`` and values by column (``loss``, ``reward``, ``rewards/<term>/mean``, ``kl``…).
        Columns may be absent from some rows; values that are not finite are left out.

    Returns
    -------
    Only quantities that have a value, in a fixed order.

    >>> list(curve_figures([{"step": 1, "reward": 2.0, "rewards/box_iou/mean": 0.3}]))
    ['reward', 'reward_box_iou']
    """
    out = {}
    for column, title in _quantities(rows):
        points = [(x, y) for row in rows if (x := number(row.get("step"))) is not None
                  and (y := number(row.get(column))) is not None]  # fmt: skip
        if points:
            out[_slug(column)] = _figure(title, np.asarray(sorted(points)))
    return out


def save_curves(rows: Rows, folder: Path) -> list[Path]:
    """Write each figure as ``<name>.png`` into ``folder`` (made if absent); returns the paths in order."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in curve_figures(rows).items():
        paths.append(folder / f"{name}.png")
        figure.savefig(paths[-1], format="png", dpi=200, facecolor="white", metadata={"Software": None})
    return paths


def curve_svgs(rows: Rows, prefix: str) -> list[str]:
    """Each figure as an ``<svg>`` element to stand in HTML; ``prefix`` keeps ids apart from other figures' ids."""
    return [svg(figure, f"{prefix}-{name}") for name, figure in curve_figures(rows).items()]


def _quantities(rows: Rows) -> list[tuple[str, str]]:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    terms = [(c, f"Reward: {_words(m['name'])}") for c in columns if (m := _TERM.fullmatch(c))
             and not c.endswith("/std")]  # fmt: skip
    checks = [(c, title) for c, title in _CHECKS.items() if c in columns][:1]
    known = [(c, title) for c, title in _TITLES.items() if c in columns]
    first = [q for q in known if q[0] in ("loss", "mean_token_accuracy", "reward")]
    # Under GRPO the loss says little (it hovers around 0 whatever happens), so the rewards come before it.
    if terms:
        first.sort(key=lambda q: q[0] != "reward")
        return [*first[:1], *terms, *checks, *(q for q in known if q not in first), *first[1:]]
    return [*first, *checks, *(q for q in known if q not in first)]


def _words(name: str) -> str:
    return re.sub(r"\biou\b", "IoU", name.replace("_", " ").replace("/", ": "))


def _slug(column: str) -> str:
    term = _TERM.fullmatch(column)
    return re.sub(r"\W+", "_", f"reward_{term['name']}" if term else column).strip("_").lower()


def _figure(title: str, points: np.ndarray[Any, Any]) -> Figure:
    figure = Figure(figsize=(3.4, 2.2))
    # Fixed margins, so that neighbours line up whatever their numbers look like.
    axes = figure.add_axes((0.165, 0.13, 0.8, 0.7))
    x, y = points.T
    smooth = len(x) >= _SMOOTH_FROM
    axes.plot(x, y, color=LINE, linewidth=1.0 if smooth else 1.8, alpha=0.4 if smooth else 1.0,
              marker="o" if len(x) == 1 else None)  # fmt: skip
    if smooth:
        axes.plot(x, _moving_average(y, max(3, len(y) // 10)), color=LINE, linewidth=2.0)
    figure.text(0.02, 0.9, title, fontsize=10.5, fontweight="bold", color=INK)
    figure.text(0.965, 0.9, _tick(y[-1]), fontsize=10.5, color=MUTED, horizontalalignment="right")
    axes.tick_params(labelsize=9, labelcolor=MUTED, color=GRID, length=3)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: _tick(v)))
    if np.ptp(y) < 0.02 * max(float(np.abs(y).max()), 1e-9):  # a constant: do not magnify its rounding
        middle, half = float(y.mean()), 0.05 * max(float(np.abs(y).max()), 1e-9)
        axes.set_ylim(middle - half, middle + half)
        axes.yaxis.set_major_locator(FixedLocator([middle]))
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    return figure


def _tick(value: float) -> str:
    """Short enough for the margin: ``0.75``, ``2e-4``."""
    if value and abs(value) < 1e-3:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}".replace("-", "−")
    return f"{float(f'{value:.3g}'):.4g}".replace("-", "−")


def _moving_average(values: np.ndarray[Any, Any], window: int) -> np.ndarray[Any, Any]:
    """Centred; at the ends over what there is."""
    kernel = np.ones(window)
    total = np.convolve(values, kernel, mode="same")
    smoothed: np.ndarray[Any, Any] = total / np.convolve(np.ones_like(values), kernel, mode="same")
    return smoothed


def svg(figure: Figure, prefix: str) -> str:
    """The figure as an ``<svg>`` element in the page's colours."""
    buffer = io.StringIO()
    # Text stays text: it takes the page's font and colour, and can be searched. The salt makes ids the same every time.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": prefix}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = re.sub(r"<metadata>.*?</metadata>", "", buffer.getvalue(), flags=re.DOTALL)
    text = text[text.index("<svg") :].strip()
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    assert box is not None
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = body.replace("url(#", f"url(#{prefix}-").replace('href="#', f'href="#{prefix}-')
    for colour, variable in _THEME.items():
        body = body.replace(colour, variable)
    return f'<svg class="plot" {box.group()} role="img">{body}'
