"""Metrics turned into rows: values stay numbers here, and positions are percent of a track's width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medreasoner_monai.evaluation.metrics import mistake_rate
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.report.inputs import BLANK, COLD_START, Evaluated, ReportInputs
from medreasoner_monai.report.text import finite
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS

_PROMPTS = {"points": "from the points", "box": "from the box", "both": "from box and points"}
_STEPS = tuple(m * 10.0**e for e in range(-4, 1) for m in (1, 2, 5))
BINS = 10


@dataclass(frozen=True)
class Measure:
    """A column of the metrics, and what it is called."""

    key: str
    title: str
    detail: str = ""


@dataclass(frozen=True)
class Difference:
    """A row of a forest plot. ``clear``: the interval leaves zero out. Positions are None where a number is missing."""

    measure: Measure
    estimate: Mapping[str, Any]
    clear: bool
    at: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Forest:
    """One comparison: rows on a common axis that holds zero. ``ticks``: position and value."""

    title: str
    rows: Sequence[Difference]
    zero: float
    ticks: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Group:
    """A category or super-category: the final model's measures, and two others' box IoU to compare with."""

    name: str
    parent: str
    n: int
    measures: Mapping[str, Mapping[str, Any]]
    cold_start: float | None
    blank: float | None


def measures_of(evaluated: Sequence[Evaluated]) -> list[Measure]:
    """Every measure that was taken, the masks' by segmenter and then by prompt."""
    names = list(dict.fromkeys(name for e in evaluated for name in e.metrics.get("overall", {})))
    known = {"box_iou": "Box IoU", "point_dice": "Point Dice"}
    out = [Measure(name, title) for name, title in known.items() if name in names]
    segmenters = list(dict.fromkeys(name.split("/")[1] for name in names if name.startswith("dice/")))
    for segmenter in segmenters:
        who = f", {segmenter}" if len(segmenters) > 1 else ""
        found = {kind: f"dice/{segmenter}/{kind}" for kind in PROMPT_KINDS}
        out += [Measure(name, "Mask Dice", _PROMPTS[kind] + who) for kind, name in found.items() if name in names]
    return out


MISTAKES = (
    Measure("false_positive_rate", "A region for an absent target", "false positives, of readable answers"),
    Measure("false_negative_rate", "“Nothing there” for a present target", "false negatives, of readable answers"),
    Measure("left_right_confusion", "Left for right", "regions on the other side, of targets with a side"),
)
"""Rates of mistakes that no overlap shows; less is better."""


def mistakes(evaluated: Sequence[Evaluated]) -> list[tuple[Measure, list[Mapping[str, Any]]]]:
    """Rates that were measured for at least one reasoner, with the estimate of each (empty where there is none)."""
    rows: list[tuple[Measure, list[Mapping[str, Any]]]]
    rows = [(m, [mistake_rate(e.metrics, m.key) or {} for e in evaluated]) for m in MISTAKES]
    return [(m, found) for m, found in rows if any(found)]


@dataclass(frozen=True)
class Answers:
    """What was answered where the target is present, or absent: counts."""

    target: str
    region: int
    nothing: int
    withheld: int
    unreadable: int


def answers(records: Sequence[Record]) -> list[Answers]:
    """Two rows: present targets and absent ones."""
    out = []
    for target, present in (("Present", True), ("Absent", False)):
        part = [r for r in records if r.present is present]
        out.append(
            Answers(
                target,
                sum(r.answered for r in part),
                sum(r.said_nothing for r in part),
                sum(r.withheld for r in part),
                sum(r.unreadable for r in part),
            )
        )
    return out


def mask_measure(evaluated: Evaluated) -> str | None:
    """The mask measure that stands for the model: the first segmenter's, from the richest prompt that it was sent."""
    names = [m.key for m in measures_of([evaluated]) if m.key.startswith("dice/")]
    firsts = [name for name in names if name.rpartition("/")[0] == names[0].rpartition("/")[0]]
    return firsts[-1] if firsts else None


def forests(inputs: ReportInputs) -> list[Forest]:
    """A forest plot a comparison."""
    titles = {e.key: e.title for e in inputs.evaluated}
    known = {m.key: m for m in measures_of(inputs.evaluated)}
    known |= {m.key: Measure(m.key, m.title, "less is better") for m in MISTAKES}
    out = []
    for comparison in inputs.comparisons:
        found = comparison.get("measures", {})
        # The masks' other measures say the same again, some on another scale; metrics.json has them.
        order = [*(k for k in known if k in found), *(k for k in found if k not in known and "/" not in k)]
        rows = [(known.get(k) or Measure(k, k), found[k]) for k in order]
        a, b = (str(titles.get(comparison[end], comparison[end])) for end in ("a", "b"))
        out.append(_forest(f"{b} minus {a}", rows))
    return out


def _forest(title: str, rows: Sequence[tuple[Measure, Mapping[str, Any]]]) -> Forest:
    ends = [v for _, row in rows for k in ("low", "high", "difference") if (v := finite(row.get(k))) is not None]
    first, last = min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)
    span = (last - first) or 1.0
    first, last = first - 0.06 * span, last + 0.06 * span
    step = next((s for s in _STEPS if (last - first) / s <= 5), 1.0)

    def place(value: Any) -> float | None:
        found = finite(value)
        return None if found is None else round(100 * (found - first) / (last - first), 2)

    zero = place(0.0)
    assert zero is not None
    marks = [round(n * step, 6) for n in range(int(first / step) - 1, int(last / step) + 2)]
    ticks = [(p, m) for m in marks if (p := place(m)) is not None and 3 <= p <= 97]
    differences = [
        Difference(
            m, row, excludes_zero(row), place(row.get("difference")), place(row.get("low")), place(row.get("high"))
        )
        for m, row in rows
    ]
    return Forest(title, differences, zero, ticks)


def excludes_zero(estimate: Mapping[str, Any]) -> bool:
    """Whether an interval leaves zero out."""
    low, high = finite(estimate.get("low")), finite(estimate.get("high"))
    return low is not None and high is not None and (low > 0 or high < 0)


def gain(inputs: ReportInputs, a: str, b: str, measure: str = "box_iou") -> Mapping[str, Any]:
    """The difference ``b - a`` of a measure; empty if it was not compared."""
    for comparison in inputs.comparisons:
        if (comparison.get("a"), comparison.get("b")) == (a, b):
            found: Mapping[str, Any] = comparison.get("measures", {}).get(measure) or {}
            return found
    return {}


def groups(inputs: ReportInputs, level: str) -> list[Group]:
    """The final model by ``"supercategory"`` or ``"category"``: by parent, the best box IoU first."""
    final = inputs.final
    if final is None:
        return []
    parents = {r.category: r.supercategory for r in final.records} if level == "category" else {}
    others = {key: inputs.find(key) for key in (COLD_START, BLANK)}

    def mean(key: str, name: str) -> float | None:
        other = others[key]
        if other is None or other is final:
            return None
        return finite(other.metrics.get(f"by_{level}", {}).get(name, {}).get("box_iou", {}).get("mean"))

    out = [
        Group(name, parents.get(name, ""), _samples(found), found, mean(COLD_START, name), mean(BLANK, name))
        for name, found in final.metrics.get(f"by_{level}", {}).items()
    ]
    return sorted(out, key=lambda g: (g.parent, -(finite(g.measures.get("box_iou", {}).get("mean")) or 0.0), g.name))


def _samples(measures: Mapping[str, Mapping[str, Any]]) -> int:
    return max((int(finite(m.get("n")) or 0) for m in measures.values()), default=0)


def failures(evaluated: Sequence[Evaluated]) -> list[tuple[str, list[int]]]:
    """Reasons, the commonest first, with their count for each reasoner."""
    reasons = dict.fromkeys(reason for e in evaluated for reason in e.metrics.get("failures", {}))
    rows = [(str(r), [int(e.metrics.get("failures", {}).get(r, 0)) for e in evaluated]) for r in reasons]
    return sorted(rows, key=lambda row: (-sum(row[1]), row[0]))


def histogram(records: Sequence[Record]) -> list[int]:
    """How many present targets have a box IoU in each tenth of [0, 1]; answers without a region count as 0."""
    counts = [0] * BINS
    for record in records:
        if not record.present:
            continue
        value = finite(record.box_iou) or 0.0
        counts[min(BINS - 1, max(0, int(value * BINS)))] += 1
    return counts
