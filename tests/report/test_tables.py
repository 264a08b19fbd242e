"""Rows and positions worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medreasoner_monai.report import tables
from medreasoner_monai.report.inputs import ReportInputs


def test_measures_in_reading_order(inputs: ReportInputs) -> None:
    keys = [m.key for m in tables.measures_of(inputs.evaluated)]
    assert keys == ["box_iou", "point_dice", "dice/classical/points", "dice/classical/box", "dice/classical/both"]


def test_masks_name_their_segmenter_only_where_there_are_several(inputs: ReportInputs) -> None:
    final = inputs.evaluated[-1]
    two = replace(final, metrics={"overall": {"dice/classical/box": {}, "dice/medsam/box": {}}})
    assert [m.detail for m in tables.measures_of([two])] == ["from the box, classical", "from the box, medsam"]
    assert tables.measures_of([final])[-1].detail == "from box and points"


@pytest.mark.parametrize(
    ("low", "high", "clear"), [(0.01, 0.2, True), (-0.2, -0.01, True), (-0.1, 0.1, False), (0.0, 0.1, False)]
)
def test_an_interval_that_leaves_zero_out(low: float, high: float, clear: bool) -> None:
    assert tables.excludes_zero({"low": low, "high": high}) is clear


def test_forest_places_zero_and_every_end_on_the_track(inputs: ReportInputs) -> None:
    measures = {"box_iou": {"difference": 0.05, "low": 0.0, "high": 0.1, "n": 9}}
    (forest,) = tables.forests(replace(inputs, comparisons=[{"a": "cold_start", "b": "grpo", "measures": measures}]))
    (row,) = forest.rows
    assert forest.title == "GRPO minus Cold start"
    assert row.low == forest.zero == pytest.approx(5.36, abs=0.01)
    assert row.at == pytest.approx(50) and row.high == pytest.approx(94.64, abs=0.01)
    assert (forest.zero, 0.0) in forest.ticks


def test_groups_stand_under_their_parent_best_first(inputs: ReportInputs) -> None:
    rows = tables.groups(inputs, "category")
    means = [(g.parent, -g.measures["box_iou"]["mean"]) for g in rows]
    assert means == sorted(means)
    assert all(g.blank is not None and g.cold_start is not None for g in rows)


def test_histogram_counts_every_record_once(inputs: ReportInputs) -> None:
    records = [replace(inputs.evaluated[0].records[0], box_iou=v) for v in (0.0, 0.05, 0.95, 1.0, float("nan"))]
    assert tables.histogram(records) == [3, 0, 0, 0, 0, 0, 0, 0, 0, 2]
