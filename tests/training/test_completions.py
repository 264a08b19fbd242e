"""The record of completions: what stands in a line, which ones are taken, and what is drawn."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medreasoner_monai.rewards import suite
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.training.completions import Recorder, first_of_each
from medreasoner_monai.training.contact import SIDE, Tile, contact_sheet, draw_tile
from medreasoner_monai.training.follow import SHEETS, sheet_name
from medreasoner_monai.training.grpo_stage import sample_completions
from medreasoner_monai.training.launch import COMPLETIONS

GOOD = '<think>Bright.</think><answer>{"bbox": [20, 10, 60, 50], "points_1": [30, 20], "points_2": [50, 40]}</answer>'
POOR = '<think>Here.</think><answer>{"bbox": [0, 0, 10, 10], "points_1": [2, 2], "points_2": [8, 8]}</answer>'
NONE = "I do not know."
WRITTEN = [GOOD, POOR, NONE, GOOD]
TRUTH = json.dumps({"bbox_2d": [20, 10, 60, 50], "point_2d": [[30, 20], [50, 40]]})


def row(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": f"Where in {name}?"}],
        "images": [Image.new("RGB", (84, 56), (40, 40, 40))],
        "ground_truth": TRUTH,
        "frame_width": 84,
        "frame_height": 56,
    }


class FakeTrainer:
    """Two questions with two completions each, a round a call."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(global_step=0, is_world_process_zero=True)
        self.model = SimpleNamespace(training=True)
        self.processing_class = SimpleNamespace(
            batch_decode=lambda ids, skip_special_tokens: [WRITTEN[int(i[0])] for i in ids]
        )
        self.callbacks: list[Any] = []

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def _generate_and_score_completions(self, inputs: Any) -> dict[str, Any]:
        return {
            "completion_ids": torch.tensor([[0], [1], [2], [3]]),
            "advantages": torch.tensor([1.0, -1.0, -0.5, 0.5]),
        }

    def round(self, step: int) -> None:
        self.state.global_step = step
        self._generate_and_score_completions([row("a"), row("a"), row("b"), row("b")])


@pytest.fixture
def trainer(tmp_path: Path) -> FakeTrainer:
    made = FakeTrainer()
    Recorder(made, tmp_path, suite("soft"), every=2)
    return made


def test_a_line_has_everything_a_completion_earned(trainer: FakeTrainer, tmp_path: Path) -> None:
    trainer.round(0)
    lines = sample_completions(tmp_path)
    assert [(line["id"], line["text"]) for line in lines] == [("a", GOOD), ("a", POOR), ("b", NONE), ("b", GOOD)]
    assert lines[0]["question"] == "Where in a?"
    assert [line["advantage"] for line in lines] == [1.0, -1.0, -0.5, 0.5]
    # The first one is the truth itself: every term of the suite is at its most.
    assert [lines[0][term] for term in suite("soft").terms] == [1.0] * 4
    assert lines[0]["reward"] == 4.0
    assert lines[2]["reward"] == 0.0
    for line in lines:
        assert line["reward"] == pytest.approx(sum(float(str(line[term])) for term in suite("soft").terms), abs=1e-3)


def test_the_sum_is_weighted(tmp_path: Path) -> None:
    trainer = FakeTrainer()
    Recorder(trainer, tmp_path, suite("soft", weights={"bbox_iou": 3.0}), every=1)
    trainer.round(0)
    assert sample_completions(tmp_path)[0]["reward"] == 6.0


def test_only_each_so_many_steps_and_neither_while_validating_nor_on_other_ranks(
    trainer: FakeTrainer, tmp_path: Path
) -> None:
    for step in range(5):
        trainer.round(step)
    trainer.model.training = False
    trainer.round(6)
    trainer.model.training, trainer.state.is_world_process_zero = True, False
    trainer.round(8)
    assert [line["step"] for line in sample_completions(tmp_path)] == [0] * 4 + [2] * 4 + [4] * 4
    assert sorted(p.name for p in (tmp_path / SHEETS).iterdir()) == [sheet_name(step) for step in (0, 2, 4)]


def test_steps_that_are_repeated_after_a_kill_stand_once(trainer: FakeTrainer, tmp_path: Path) -> None:
    for step in (0, 2, 4):
        trainer.round(step)
    with (tmp_path / COMPLETIONS).open("a") as f:
        f.write('{"step": 4, "te')
    trainer.callbacks[0].on_train_begin(None, SimpleNamespace(is_world_process_zero=True, global_step=2), None)
    for step in (2, 4):
        trainer.round(step)
    assert [line["step"] for line in sample_completions(tmp_path)] == [0] * 4 + [2] * 4 + [4] * 4


def test_some_of_the_first_questions_whatever_they_earned() -> None:
    names = [name for name in "abcdef" for _ in range(16)]
    places = first_of_each(names)
    assert [names[p] for p in places] == list("aabbccdd")
    assert [p % 16 for p in places] == [0, 1] * 4
    assert first_of_each(["a"]) == [0] and first_of_each([]) == []


def pixels(image: Image.Image) -> Any:
    return np.asarray(image).astype(int)


FRAME = Frame(84, 56, "model")
SHAPES = (Box(21, 14, 63, 42, FRAME), Points((30, 20), (50, 40), FRAME))


def test_shapes_are_drawn_where_they_are() -> None:
    drawn = pixels(draw_tile(Tile(Image.new("RGB", (84, 56)), SHAPES, None, "")))
    assert drawn.shape == (160, SIDE, 3)
    coloured = np.argwhere(drawn[..., 2] > 200)
    top, left = coloured.min(axis=0)
    bottom, right = coloured.max(axis=0)
    scale = SIDE / 84
    np.testing.assert_allclose([left, top, right, bottom], np.array(SHAPES[0].xyxy) * scale, atol=2)
    for x, y in SHAPES[1].xy:
        assert drawn[round(y * scale), round(x * scale)].tolist() == [53, 208, 255]


def test_truth_and_answer_differ_and_an_unreadable_answer_has_no_shape() -> None:
    blank = Image.new("RGB", (84, 56))
    truth, answer, neither = (
        draw_tile(Tile(blank, *shapes, "")) for shapes in ((SHAPES, None), (None, SHAPES), (None, None))
    )
    assert (pixels(truth) != pixels(answer)).any()
    assert pixels(neither).max() == 0


def test_a_sheet_holds_pixels_alone(tmp_path: Path) -> None:
    picture = Image.new("L", (50, 90), 90)
    picture.info["Comment"] = "Doe, Jane"
    tiles = [
        Tile(picture, SHAPES, None, "a caption that is far too long for the tile that it is to be written under")
    ] * 5
    contact_sheet(tiles).save(tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.info == {}
        assert sheet.mode == "RGB" and 4 * SIDE < sheet.width < 5 * SIDE and 2 * SIDE < sheet.height < 3 * SIDE
    assert b"Doe" not in (tmp_path / "sheet.png").read_bytes()
    assert contact_sheet([]).size > (0, 0)
