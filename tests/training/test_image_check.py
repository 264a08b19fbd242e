"""Pictures that do not reach the model are told; a model that sees raises nothing."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.dataset import row_truth, training_set
from medreasoner_monai.training.follow import PICTURE_ALARMS
from medreasoner_monai.training.image_check import NO_EFFECT, PictureCheck, check_pictures, picture_effect
from medreasoner_monai.training.worker import load_model
from tests.samples import absent_sample, sample


@pytest.fixture
def model(tiny_model: Path) -> Any:
    return load_model(str(tiny_model), gpu=False, freeze_vision=True)


@pytest.fixture
def processor(tiny_model: Path) -> Any:
    return load_processor(tiny_model)


@pytest.fixture
def data(tmp_path: Path, processor: Any) -> Any:
    write_split(tmp_path / "train.parquet", [sample(n) for n in range(3)])
    return training_set(tmp_path / "train.parquet", processor, template("think"), answered=False)


@pytest.fixture
def rows(data: Any) -> list[dict[str, Any]]:
    return [data[n] for n in range(2)]


def blinded(model: Any) -> Any:
    """The same model whose vision tower gives zeros for whatever it is shown."""
    blind = copy.deepcopy(model)
    for parameter in blind.model.visual.merger.parameters():
        parameter.data.zero_()
    return blind


def test_a_model_that_sees_raises_nothing(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    model.train()
    before = torch.get_rng_state()
    assert check_pictures(model, processor, rows, completion=96) == []
    assert model.training and torch.equal(torch.get_rng_state(), before)


def test_a_model_whose_vision_gives_zeros_is_told(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    (alarm,) = check_pictures(blinded(model), processor, rows)
    assert alarm.kind == "image_dropped" and alarm.step == 0
    assert "answers the same when the picture is blanked" in alarm.message


def test_the_limit_lies_between_the_two(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    """An untrained model of two thin layers is as near to blind as one that sees will be."""
    seeing, blind = (picture_effect(m, processor, rows[0]) for m in (model, blinded(model)))
    assert seeing is not None and seeing > 3 * NO_EFFECT
    assert blind == 0.0


def test_the_effect_is_the_largest_total_variation(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    """By hand: the whole sequence, both pictures in one place after the other."""
    row = rows[0]
    text = processor.apply_chat_template(template("think").messages(question(row)), add_generation_prompt=True)
    values = json.loads(row["ground_truth"])
    answer = {"bbox": values["bbox_2d"], "points_1": values["point_2d"][0], "points_2": values["point_2d"][1]}
    text += f"<answer>{json.dumps(answer)}</answer>"
    width, height = row["images"][0].size
    pair = [row["images"][0], Image.fromarray(np.zeros((height, width, 3), dtype=np.uint8))]
    out = []
    with torch.no_grad():
        for picture in pair:
            inputs = processor(images=[picture], text=[text], return_tensors="pt")
            out.append(model(**inputs).logits[0].softmax(-1).numpy())
    last = int((inputs["input_ids"][0] == model.config.image_token_id).nonzero()[-1])
    expected = np.abs(out[0] - out[1]).sum(-1)[last + 1 :].max() / 2
    assert picture_effect(model, processor, row) == pytest.approx(expected, rel=1e-4)


def question(row: dict[str, Any]) -> str:
    return str(row["prompt"][-1]["content"])


def test_a_chat_template_without_pictures_is_told(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    processor.chat_template = processor.chat_template.replace("<|image_pad|>", "")
    alarms = check_pictures(model, processor, rows)
    assert len(alarms) == 2
    assert "s0 has 0 image tokens for a picture of 6" in alarms[0].message  # 84 x 56 in tokens of 28 x 28


def test_a_prompt_that_does_not_fit_is_told(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    row = rows[0]
    chat = processor.apply_chat_template(template("think").messages(question(row)), add_generation_prompt=True)
    length = processor(images=row["images"], text=[chat], return_tensors="pt")["input_ids"].shape[1]
    assert check_pictures(model, processor, [row], limit=length + 50, completion=50) == []
    (alarm,) = check_pictures(model, processor, [row], limit=length + 49, completion=50)
    assert f"has {length} tokens with its picture and leaves no room for 50" in alarm.message
    # By default: the positions the model has.
    assert check_pictures(model, processor, [row], completion=4096 - length) == []
    assert len(check_pictures(model, processor, [row], completion=4097 - length)) == 1


def test_blank_pictures_are_told_and_one_that_shows_something_is_enough(
    model: Any, processor: Any, rows: list[dict[str, Any]]
) -> None:
    black = [{**r, "images": [Image.new("RGB", r["images"][0].size)]} for r in rows]
    (alarm,) = check_pictures(model, processor, black)
    assert "The pictures of s0, s1 are blank" in alarm.message
    assert check_pictures(model, processor, [black[0], rows[1]]) == []


def test_a_question_without_a_region_is_looked_at_too(model: Any, processor: Any, rows: list[dict[str, Any]]) -> None:
    nothing = {**rows[0], "ground_truth": json.dumps({"bbox_2d": None, "point_2d": None})}
    assert row_truth(nothing) is None
    assert check_pictures(model, processor, [nothing]) == []
    flat = {**rows[0], "ground_truth": json.dumps({"bbox_2d": [3, 4, 3, 9], "point_2d": [[3, 5], [3, 6]]})}
    assert row_truth(flat) is None


def test_the_callback_looks_at_rows_with_a_target_where_there_are_some(tmp_path: Path, processor: Any) -> None:
    def chosen(*samples: Any) -> list[str]:
        write_split(tmp_path / "rows.parquet", samples)
        rows = training_set(tmp_path / "rows.parquet", processor, template("think"), answered=False)
        return [row["id"] for row in PictureCheck(tmp_path, rows, processor)._chosen()]

    assert chosen(absent_sample(0), sample(1), absent_sample(2), sample(3), sample(4)) == ["s1", "s3"]
    assert chosen(absent_sample(0), absent_sample(1), sample(2)) == ["s2", "s0"]
    assert chosen(absent_sample(0)) == ["s0"]


def test_the_callback_writes_for_the_parent(tmp_path: Path, model: Any, processor: Any, data: Any) -> None:
    check = PictureCheck(tmp_path, data, processor)
    args = SimpleNamespace(device=torch.device("cpu"), max_completion_length=16)
    state = SimpleNamespace(is_world_process_zero=True)
    check.on_train_begin(args, state, None, model=blinded(model))
    (line,) = (tmp_path / PICTURE_ALARMS).read_text().splitlines()
    assert json.loads(line)["kind"] == "image_dropped"
    check.on_train_begin(args, state, None, model=model)
    assert not (tmp_path / PICTURE_ALARMS).exists()
    check.on_train_begin(args, SimpleNamespace(is_world_process_zero=False), None, model=blinded(model))
    assert not (tmp_path / PICTURE_ALARMS).exists()
