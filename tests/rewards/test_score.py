"""Scoring a file of completions."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.rewards import suite
from medreasoner_monai.rewards.score import score_lines

TRUTH = {"bbox_2d": [20, 30, 80, 110], "point_2d": [[40, 50], [60, 90]]}
PERFECT = '<think>why</think><answer>{"bbox": [20, 30, 80, 110], "points_1": [40, 50], "points_2": [60, 90]}</answer>'


def line(completion: object = PERFECT, truth: object = TRUTH, **more: object) -> str:
    return json.dumps({"completion": completion, "ground_truth": truth, **more})


def rows(*lines: str, name: str = "soft") -> list[dict[str, Any]]:
    return list(score_lines(lines, suite(name)))


def test_a_row_has_every_term_of_the_suite_and_their_sum() -> None:
    (row,) = rows(line(), name="hard")

    assert list(row) == [
        *("format_think", "format_answer", "bbox_iou", "points_dice"),
        *("bbox_align", "bbox_scale", "points_align", "points_angle", "score"),
    ]
    assert row["score"] == 8


def test_the_truth_may_be_a_json_string_as_in_the_parquet_files() -> None:
    assert rows(line(truth=json.dumps(TRUTH))) == rows(line())


def test_with_the_images_size_coordinates_outside_are_malformed() -> None:
    outside = PERFECT.replace("80, 110", "80, 150")
    inside, cut = rows(line(outside), line(outside, width=100, height=120))

    assert inside["bbox_iou"] > 0
    assert (cut["format_answer"], cut["bbox_iou"]) == (0.6, 0)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("{", "not JSON"),
        ("[]", "not a JSON object"),
        (json.dumps({"ground_truth": TRUTH}), "completion is missing"),
        (line(truth={"bbox_2d": [1, 2, 3, 4]}), "point_2d"),
        (line(truth="{"), "ground_truth is no JSON"),
        (line(truth={**TRUTH, "bbox_2d": [1, 2, 3]}), "four and two times two numbers"),
        (line(truth={**TRUTH, "bbox_2d": [9, 2, 3, 4]}), "x2 > x1"),
        (line(truth={**TRUTH, "point_2d": None}), "four and two times two numbers"),
        (line(width=100), "both or neither"),
        (line(width=50, height=50), "outside the image of 50 x 50"),
    ],
)
def test_a_bad_row_says_why_and_the_others_are_scored(bad: str, why: str) -> None:
    first, second, third = rows(line(), bad, line())

    assert second["line"] == 2
    assert why in second["error"]
    assert first == third == {"format_think": 1, "format_answer": 1, "bbox_iou": 1, "points_dice": 1, "score": 4}


def test_chunks_change_nothing() -> None:
    rng = random.Random(0)
    lines = [line(PERFECT.replace("80", str(rng.randint(21, 120)))) if rng.random() < 0.9 else "x" for _ in range(50)]

    assert list(score_lines(lines, suite("hard"), chunk=7)) == list(score_lines(lines, suite("hard")))


def test_saying_that_there_is_nothing_is_rewarded_where_it_is_true() -> None:
    nothing = '<think>clear</think><answer>{"bbox": null, "points_1": null, "points_2": null}</answer>'
    empty = {"bbox_2d": None, "point_2d": None}
    found = rows(line(nothing, empty), line(nothing), line(PERFECT, empty), line(), name="abstain")

    assert [r["abstention"] for r in found] == [1, 0, 0, 0]
    assert [r["presence"] for r in found] == [0, 0, 0, 1]
    assert [r["bbox_iou"] for r in found] == [0, 0, 0, 1]
    assert [r["format_answer"] for r in found] == [1, 1, 1, 1]


def test_the_command_writes_rows_and_fails_for_a_bad_one(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text(f"{line()}\n\n{line('nothing')}\n")
    good = CliRunner().invoke(app, ["score", str(tmp_path / "in.jsonl")])
    assert good.exit_code == 0
    assert [json.loads(row)["score"] for row in good.stdout.splitlines()] == [4, 0]

    bad = CliRunner().invoke(app, ["score", "-", "--suite", "base"], input=f"oops\n{line()}\n")
    assert bad.exit_code == 2
    assert [list(json.loads(row))[-1] for row in bad.stdout.splitlines()] == ["error", "score"]
