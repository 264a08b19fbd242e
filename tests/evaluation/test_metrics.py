"""From records to figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.metrics import compare, measures, summarise
from medreasoner_monai.evaluation.records import read_records, write_records
from tests.evaluation.records import record

FAILED = {"answered": False, "bbox": None, "points": None, "trace": "", "masks": {"box/both": 0.0}, "point_dice": 0.0}


def test_failed_answers_count_with_zero_and_by_reason() -> None:
    records = [record(0, 0.8), record(1, 0.4), record(2, 0, reason="answer is not JSON", **FAILED)]
    metrics = summarise(records, resamples=100)
    assert metrics["samples"] == 3
    assert metrics["failure_rate"] == pytest.approx(1 / 3, abs=1e-5)
    assert metrics["failures"] == {"answer is not JSON": 1}
    assert metrics["overall"]["box_iou"]["mean"] == pytest.approx(0.4)
    assert metrics["overall"]["dice/box/both"]["mean"] == pytest.approx(0.5)


def test_figures_are_given_by_group() -> None:
    metrics = summarise([record(0, 0.8), record(1, 0.4), record(2, 0.6)], resamples=100)
    assert {n: v["box_iou"]["mean"] for n, v in metrics["by_category"].items()} == {"liver": 0.4, "spleen": 0.7}
    assert metrics["by_category"]["spleen"]["box_iou"]["n"] == 2
    assert list(metrics["by_supercategory"]) == ["Abdomen"] and list(metrics["by_modality"]) == ["CT"]


def test_figures_are_given_by_source_and_records_without_one_left_out() -> None:
    metrics = summarise([record(0, 0.8, source="us"), record(1, 0.4, source="ct"), record(2, 0.6)], resamples=100)
    assert {n: v["box_iou"]["mean"] for n, v in metrics["by_source"].items()} == {"ct": 0.4, "us": 0.8}


def test_intervals_are_by_patient_and_older_records_are_patients_of_their_own() -> None:
    values = [0.1 * (n // 4) for n in range(40)]
    known = summarise([record(n, v, group=f"p{n // 4}") for n, v in enumerate(values)])
    older = summarise([record(n, v) for n, v in enumerate(values)])
    assert (known["groups"], known["ungrouped"]) == (10, 0) and (older["groups"], older["ungrouped"]) == (40, 40)
    wide, narrow = (m["overall"]["box_iou"]["high"] - m["overall"]["box_iou"]["low"] for m in (known, older))
    assert wide > 1.7 * narrow  # twice, for four questions a patient, less the corrections for few of them
    assert known["overall"]["box_iou"]["groups"] == 10 and known["overall"]["box_iou"]["n"] == 40


def test_groups_are_taken_from_whichever_evaluation_knows_them() -> None:
    before = [record(n, 0.1) for n in range(12)]
    after = [record(n, 0.1 + 0.05 * (n // 3), group=f"p{n // 3}") for n in range(12)]
    found = compare(before, after)
    assert found["box_iou"]["groups"] == 4 and found["false_negative_rate"]["groups"] == 4
    assert compare(after, before)["box_iou"]["groups"] == 4


def test_targets_of_many_parts_are_apart_from_the_headline() -> None:
    records = [record(0, 0.4), record(1, 0.6), record(2, 1.0, category="nuclei")]
    metrics = summarise(records, resamples=100)
    assert metrics["overall"]["box_iou"]["mean"] == 0.5 and metrics["overall"]["box_iou"]["n"] == 2
    assert {name: m["box_iou"]["mean"] for name, m in metrics["by_parts"].items()} == {"many": 1.0, "single": 0.5}
    assert compare(records, records, resamples=100)["box_iou"]["n"] == 2
    assert summarise(records[2:], resamples=100)["overall"]["box_iou"]["mean"] == 1.0, "all there is"


def test_measures_go_by_their_names() -> None:
    assert measures(record(0)) == {"box_iou": 0.5, "point_dice": 0.25, "dice/box/both": 0.75}


def test_comparison_pairs_by_sample_whatever_the_order() -> None:
    before = [record(n, 0.1 * n) for n in range(5)]
    after = [record(n, 0.1 * n + 0.2) for n in reversed(range(5))]
    found = compare(before, after, resamples=100)["box_iou"]
    assert found == {"difference": 0.2, "low": 0.2, "high": 0.2, "n": 5, "groups": 5}


def test_comparison_takes_the_measures_both_have() -> None:
    found = compare([record(0)], [record(0, masks={"ellipse/box": 1.0})], resamples=100)
    assert set(found) == {"box_iou", "point_dice", "false_negative_rate"}


def test_comparison_of_different_samples_names_some() -> None:
    with pytest.raises(InputError, match="different samples, for example s1, s2; evaluate both on one"):
        compare([record(0), record(1)], [record(0), record(2)])


def test_records_come_back_from_their_table(tmp_path: Path) -> None:
    records = [record(0), record(1, 0, reason="empty completion", **FAILED)]
    write_records(tmp_path / "samples.parquet", records)
    assert read_records(tmp_path / "samples.parquet") == records


def test_comparison_of_a_sample_that_stands_there_twice_is_refused() -> None:
    with pytest.raises(InputError, match="has sample s1 more than once, so that it cannot be paired"):
        compare([record(0), record(1), record(1, 0.9)], [record(0), record(1)])
