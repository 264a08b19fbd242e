"""Suites as TRL calls them, and what a config may ask of them."""

from __future__ import annotations

import json

import pytest

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.rewards import SUITES, suite
from medreasoner_monai.task.geometry import Frame

TRUTH = json.dumps({"bbox_2d": [20, 30, 80, 110], "point_2d": [[40, 50], [60, 90]]})
ANSWER = '<answer>{"bbox": [20, 30, 80, 110], "points_1": [40, 50], "points_2": [60, 90]}</answer>'
GOOD = f"<think>why</think>{ANSWER}"
COLUMNS = {"ground_truth": [TRUTH] * 3, "frame_width": [200] * 3, "frame_height": [150] * 3}


def test_functions_take_what_trl_gives_and_return_one_value_a_completion() -> None:
    conversations = [[{"role": "assistant", "content": text}] for text in (GOOD, "", GOOD)]
    functions = suite("soft").functions()
    assert [f.__name__ for f in functions] == ["format_think", "format_answer", "bbox_iou", "points_dice"]
    for function in functions:
        values = function(completions=conversations, prompts=["Where?"] * 3, completion_ids=[[1]] * 3, **COLUMNS)
        assert values == [1.0, 0.0, 1.0]
        assert all(type(v) is float for v in values)


def test_functions_read_texts_and_content_in_parts_alike() -> None:
    parts = [{"role": "assistant", "content": [{"type": "text", "text": GOOD}]}]
    function = suite("soft").functions()[2]
    assert function(completions=[GOOD, parts, "no"], **COLUMNS) == [1.0, 1.0, 0.0]


def test_functions_do_not_confuse_one_batch_with_the_next() -> None:
    function = suite("soft").functions()[0]
    assert function(completions=[GOOD] * 3, **COLUMNS) == [1.0] * 3
    assert function(completions=["no"] * 3, **COLUMNS) == [0.0] * 3


def test_same_texts_in_a_smaller_frame_are_read_again() -> None:
    function = suite("soft").functions()[2]
    assert function(completions=[GOOD] * 3, **COLUMNS) == [1.0] * 3
    assert function(completions=[GOOD] * 3, **COLUMNS | {"frame_width": [60] * 3}) == [0.0] * 3


def test_score_is_the_weighted_sum() -> None:
    chosen = suite("soft", weights={"bbox_iou": 2.5, "format_think": 0})
    found = chosen.score([GOOD], [TRUTH], [Frame(200, 150, "model")])
    assert found["score"] == pytest.approx([0 + 1 + 2.5 + 1])
    assert chosen.weight("points_dice") == 1


def test_no_think_suite_wants_no_think_block() -> None:
    chosen = suite("soft", think=False)
    assert "format_think" not in chosen.terms
    found = chosen.score([ANSWER, GOOD], [TRUTH] * 2, [Frame(200, 150, "model")] * 2)
    assert found["score"].tolist() == [3, 0]


def test_released_overlap_has_its_own_function_under_the_same_name() -> None:
    released = suite("hard", point_overlap="released")
    assert list(released.terms) == list(SUITES["hard"].terms)
    assert released.terms["points_dice"] is not SUITES["hard"].terms["points_dice"]


def test_digest_follows_terms_weights_and_format() -> None:
    changed = [
        suite("soft"),
        suite("hard"),
        suite("soft", weights={"bbox_iou": 2}),
        suite("soft", think=False),
        suite("soft", point_overlap="released"),
    ]
    assert len({s.digest for s in changed}) == len(changed)
    assert suite("soft").digest == suite("soft", weights={"bbox_iou": 1}).digest


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no reward suite 'sofd'. Did you mean 'soft'\?"):
        suite("sofd")
    with pytest.raises(ConfigError, match=r"no term 'bbox_io'. Did you mean 'bbox_iou'\?"):
        suite("soft", weights={"bbox_io": 2})
    with pytest.raises(ConfigError, match="no term 'bbox_scale'"):
        suite("soft", weights={"bbox_scale": 2})
    with pytest.raises(ConfigError, match="'dice' or 'released'"):
        suite("soft", point_overlap="iou")
