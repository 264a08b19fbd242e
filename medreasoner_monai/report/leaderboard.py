"""A page over many evaluations, by data set, beside what the method's paper published."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.evaluation.command import Finished
from medreasoner_monai.evaluation.metrics import mistake_rate
from medreasoner_monai.report.confidence import confidence_svgs
from medreasoner_monai.report.page import environment
from medreasoner_monai.report.tables import MISTAKES, Measure

# U-MRG-14K test set, masks by MedSAM2 (arXiv 2508.08177): box IoU, pDice as released (2 I / union), mask Dice; percent.
PUBLISHED = (
    ("MedReasoner-7B", 32.42, 26.55, 37.78),
    ("Qwen2.5-VL-72B", 18.32, 12.39, 29.71),
    ("SegZero-7B", 16.14, 5.23, 26.05),
    ("Qwen2.5-VL-7B", 12.61, 7.14, 22.73),
    ("Lingshu-7B", 8.19, 3.73, 16.48),
    ("GPT-4o", 2.65, 1.12, 4.72),
)


@dataclass(frozen=True)
class Row:
    """One evaluation.

    ``box_iou`` and ``point_dice`` are empty where no target is present. ``masks`` maps ``<segmenter>/<prompt kind>`` to
    an estimate, ``mistakes`` the name of a rate; ``figures`` show what its confidence is worth.
    """

    reasoner: str
    samples: int
    failure_rate: float
    box_iou: Mapping[str, Any]
    point_dice: Mapping[str, Any]
    masks: Mapping[str, Mapping[str, Any]]
    mistakes: Mapping[str, Mapping[str, Any]]
    folder: str
    confidence: Mapping[str, Any] | None
    figures: Sequence[Markup]


@dataclass(frozen=True)
class Board:
    """The evaluations on one data set, the best box IoU first; ``masks``, ``mistakes``: the columns that any has."""

    dataset: str
    digest: str
    masks: Sequence[str]
    mistakes: Sequence[Measure]
    rows: Sequence[Row]


def boards(runs: Sequence[Finished]) -> list[Board]:
    """One board a data set: figures on different data do not stand in one table."""
    by_data: dict[str, list[Finished]] = defaultdict(list)
    for run in runs:
        by_data[str(run.metrics.get("dataset"))].append(run)
    out = []
    for digest, group in by_data.items():
        rows = sorted(
            (_row(r, f"{digest[:8]}-{n}") for n, r in enumerate(group)), key=lambda r: -float(r.box_iou.get("mean", 0))
        )
        masks = list(dict.fromkeys(name for row in rows for name in row.masks))
        mistakes = [m for m in MISTAKES if any(m.key in row.mistakes for row in rows)]
        out.append(Board(str(group[0].metrics.get("dataset_name") or "data"), digest, masks, mistakes, rows))
    return out


def _row(run: Finished, prefix: str) -> Row:
    confidence = run.metrics.get("confidence")
    overall = run.metrics["overall"]
    masks = {name.removeprefix("dice/"): value for name, value in overall.items() if name.startswith("dice/")}
    return Row(
        str(run.metrics.get("reasoner") or run.path.name),
        int(run.metrics["samples"]),
        float(run.metrics["failure_rate"]),
        overall.get("box_iou", {}),
        overall.get("point_dice", {}),
        masks,
        {m.key: found for m in MISTAKES if (found := mistake_rate(run.metrics, m.key))},
        run.path.name,
        confidence,
        [Markup(figure) for figure in confidence_svgs(confidence, f"c{prefix}")] if confidence else [],
    )


def write_leaderboard(runs: Sequence[Finished], out: Path) -> None:
    """Write the page, beside its name first."""
    page = (
        environment()
        .get_template("leaderboard.html.j2")
        .render(boards=boards(runs), published=PUBLISHED, notice=RESEARCH_USE)
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(out.name + ".tmp")
    temporary.write_text(page, encoding="utf-8")
    temporary.replace(out)
