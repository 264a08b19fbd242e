"""What a report is made from: plain values, so that it can be made again from what the stages left behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreasoner_monai.evaluation.records import Record

BLANK, BASE, COLD_START, FINAL, CHAMPION = "blank_image", "base", "cold_start", "grpo", "champion"
"""Keys with a meaning of their own: the baseline without a picture, the three models of a run, the model in place."""


@dataclass(frozen=True)
class Evaluated:
    """One reasoner scored on the test split.

    Attributes
    ----------
    key : str
        Such as :data:`BLANK` or :data:`FINAL`.
    title : str
        As it is called on the page.
    metrics : Mapping
        ``samples``, ``present`` (how many targets are), ``failure_rate``, ``failures`` (count by reason), ``absent``
        and ``left_right`` (rates of mistakes), ``overall`` (measure to ``mean``, ``low``, ``high``, ``n``) and the same
        measures in ``by_supercategory`` and ``by_category``. A measure is ``box_iou``, ``point_dice`` or
        ``dice/<segmenter>/<points, box or both>``.
    records : Sequence of Record
        One a sample.
    """

    key: str
    title: str
    metrics: Mapping[str, Any]
    records: Sequence[Record] = ()

    def measure(self, name: str) -> Mapping[str, Any]:
        """An overall measure; empty where it was not taken."""
        found: Mapping[str, Any] = self.metrics.get("overall", {}).get(name) or {}
        return found


@dataclass(frozen=True)
class ReportInputs:
    """Everything on the page except the pictures of the cases, which are read from the test split.

    Attributes
    ----------
    title, created : str
        The run's name, and when (ISO 8601).
    config : Mapping
        The settings as resolved; ``config_path`` is the file they came from.
    packages : Mapping
        Versions by package name.
    dataset : Mapping
        ``digest``, ``description``, ``synthetic``, ``rejects`` and ``splits``: by name, each with ``samples``,
        ``groups`` and counts by name in ``categories``, ``supercategories`` and ``modalities``.
    evaluated : Sequence of Evaluated
        In the order of their columns.
    comparisons : Sequence of Mapping
        Paired differences ``b - a``: keys ``a``, ``b`` and ``measures`` (``difference``, ``low``, ``high``, ``n``).
    cold_start_curve, grpo_curve : Sequence of Mapping
        Rows as :mod:`~medreasoner_monai.training.curves` takes them.
    confidence : Mapping or None
        Metrics of several answers a question made into one: as for an evaluation, with ``confidence``
        (:func:`~medreasoner_monai.evaluation.abstention.confidence_report`), ``answers``, ``temperature``,
        ``calibrated`` (:func:`~medreasoner_monai.evaluation.confidence_stage.calibration_facts`) and
        ``threshold`` (``wanted``, ``reached``, ``value``, ``validation`` and ``test`` with ``coverage`` and
        ``quality``).
    decision : Mapping
        ``decision`` (``"promote"`` or ``"refuse"``), ``reasons``, ``checks`` (each ``name``, ``passed``, ``value``,
        ``limit``, ``text``), ``model_name``, ``version``, ``alias``, ``champion`` (facts by name, or None).
    grounding : Mapping or None
        ``answer`` (the content of ``answer.json``), ``overlay`` (path of the picture), ``seg`` (path to show).
    stages : Sequence of Mapping
        ``name``, ``seconds``, ``digest``, ``path``, ``reused`` and, if known, ``inputs`` (digests by name).
    links : Mapping
        Addresses by name, and in ``how_to_open`` the command that makes them answer.
    completions : Sequence of Mapping
        A sample of GRPO's rollouts: ``step``, ``text``, ``reward``.
    alarms : Sequence of Mapping
        What went wrong while training: ``stage``, ``kind``, ``step``, ``message`` and ``cleared`` (a step, or None).
    model : Mapping
        Facts about the reasoner by name, shown as they are.
    run_id, started : str
        The run, and by whom or what it was started and why; empty for a page that is not about a run.
    """

    title: str
    created: str
    config: Mapping[str, Any]
    config_path: str
    packages: Mapping[str, str]
    dataset: Mapping[str, Any]
    evaluated: Sequence[Evaluated]
    decision: Mapping[str, Any]
    comparisons: Sequence[Mapping[str, Any]] = ()
    cold_start_curve: Sequence[Mapping[str, float]] = ()
    grpo_curve: Sequence[Mapping[str, float]] = ()
    confidence: Mapping[str, Any] | None = None
    grounding: Mapping[str, Any] | None = None
    stages: Sequence[Mapping[str, Any]] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    how_to_open: str = ""
    completions: Sequence[Mapping[str, Any]] = ()
    alarms: Sequence[Mapping[str, Any]] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    run_id: str = ""
    started: str = ""

    def find(self, key: str) -> Evaluated | None:
        """The evaluated reasoner of that key."""
        return next((e for e in self.evaluated if e.key == key), None)

    @property
    def final(self) -> Evaluated | None:
        """The model the page is about: the one GRPO left, else the last that is neither baseline nor champion."""
        own = [e for e in self.evaluated if e.key not in (BLANK, CHAMPION)]
        return self.find(FINAL) or (own[-1] if own else None)

    @property
    def overlay(self) -> Path | None:
        """The picture of the final grounding."""
        path = None if self.grounding is None else self.grounding.get("overlay")
        return None if path is None else Path(path)
