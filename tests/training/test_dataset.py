"""What the trainers get of a split."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason, parse
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training import dataset
from medreasoner_monai.training.dataset import training_set
from tests.samples import absent_sample, sample

SAMPLES = [sample(n) for n in range(6)]


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "train.parquet", SAMPLES)
    return tmp_path / "train.parquet"


@pytest.fixture
def processor(tiny_model: Path) -> Any:
    return load_processor(tiny_model)


def test_a_row_is_in_the_frame_the_model_sees(split: Path, processor: Any) -> None:
    row = training_set(split, processor, template("brief"))[2]

    # 60 x 40 has fewer than the least 3136 pixels: enlarged by their root's ratio and up to multiples of 28.
    assert row["images"][0].size == (row["frame_width"], row["frame_height"]) == (84, 56)
    truth = json.loads(row["ground_truth"])
    stored = SAMPLES[2].box
    expected = [stored.x1 * 84 / 60, stored.y1 * 56 / 40, stored.x2 * 84 / 60, stored.y2 * 56 / 40]
    np.testing.assert_allclose(truth["bbox_2d"], expected, atol=0.5)
    assert row["id"] == "s2"


@pytest.mark.parametrize("size", [(28, 700), (700, 28), (40, 60), (300, 211)])
def test_the_processor_makes_the_frame_the_truth_is_in(tmp_path: Path, processor: Any, size: tuple[int, int]) -> None:
    mask = np.zeros(size, dtype=bool)
    mask[8:20, 9:24] = True
    image = np.zeros(size, dtype=np.uint8)
    long = sample(0, image=image, mask=mask, box=mask_box(mask), points=key_points(mask))
    write_split(tmp_path / "train.parquet", [long])
    row = training_set(tmp_path / "train.parquet", processor, template("brief"))[0]

    grid = processor.image_processor(images=row["images"], return_tensors="pt")["image_grid_thw"][0].tolist()
    assert (grid[2] * 14, grid[1] * 14) == (row["frame_width"], row["frame_height"])


def test_the_completion_is_the_answer_to_learn(split: Path, processor: Any) -> None:
    row = training_set(split, processor, template("brief"))[1]

    (message,) = row["completion"]
    answer = parse(message["content"], row_frame(row))
    assert isinstance(answer, Grounding)
    assert answer.trace == "It is bright."
    assert row["prompt"][0]["content"].endswith(SAMPLES[1].question)


@pytest.mark.parametrize(("name", "trace"), [("brief", "No spleen."), ("direct", "")])
def test_where_the_target_is_absent_the_completion_says_so(
    tmp_path: Path, processor: Any, name: str, trace: str
) -> None:
    write_split(tmp_path / "train.parquet", [absent_sample(trace="No spleen.")])
    row = training_set(tmp_path / "train.parquet", processor, template(name))[0]

    answer = parse(row["completion"][0]["content"], row_frame(row), think=template(name).think)
    assert answer == NoAnswer(Reason.NOTHING_FOUND, trace)
    assert json.loads(row["ground_truth"]) == {"bbox_2d": None, "point_2d": None}
    assert dataset.row_truth(row) is None
    assert (row["frame_width"], row["frame_height"]) == (84, 56)


def row_frame(row: dict[str, Any]) -> Any:
    from medreasoner_monai.task.geometry import Frame

    return Frame(row["frame_width"], row["frame_height"], "model")


def test_for_grpo_the_answer_is_left_out(split: Path, processor: Any) -> None:
    assert "completion" not in training_set(split, processor, template("brief"), answered=False)[0]


def test_a_limit_draws_by_the_seed(split: Path, processor: Any) -> None:
    def drawn(seed: int) -> list[str]:
        return [r["id"] for r in training_set(split, processor, template("brief"), limit=3, seed=seed)]

    assert drawn(0) == drawn(0)
    assert len(set(drawn(0))) == 3
    assert any(drawn(0) != drawn(seed) for seed in range(1, 5))


def test_a_picture_is_made_once_while_there_is_room(
    split: Path, processor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Image.Image] = []
    make = dataset.model_picture
    monkeypatch.setattr(dataset, "model_picture", lambda *a: made.append(make(*a)) or made[-1])
    monkeypatch.setattr(dataset, "KEPT_BYTES", 4 * 84 * 56 * 3)

    data = training_set(split, processor, template("brief"))
    for _ in range(2):
        assert [r["id"] for r in data] == [s.id for s in SAMPLES]

    assert len(made) == 6 + 2  # two of six had no room


def test_two_samples_of_one_id_keep_their_own_answers(tmp_path: Path, processor: Any) -> None:
    one, other = SAMPLES[0], SAMPLES[1]
    write_split(tmp_path / "train.parquet", [one, replace(other, id=one.id)])
    data = training_set(tmp_path / "train.parquet", processor, template("brief"))
    for _ in range(2):  # the second time out of what is kept
        rows = [data[n] for n in range(2)]
        assert [one.question in rows[0]["prompt"][0]["content"], other.question in rows[1]["prompt"][0]["content"]] == [
            True,
            True,
        ]
        assert rows[0]["ground_truth"] != rows[1]["ground_truth"]


def test_rows_that_are_drawn_are_kept_by_their_place_in_the_file(split: Path, processor: Any) -> None:
    data = training_set(split, processor, template("brief"), limit=4, seed=3)
    assert [r["id"] for r in data] == [r["id"] for r in data]
