"""What an exported row holds, what is set aside, and which rows are validation."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medreasoner_monai.data.rejects import Ids, Reject
from medreasoner_monai.data.schema import SCHEMA, read_split, to_row, write_split
from medreasoner_monai.data.sources.parquet import in_val
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.export import llama_factory, verl
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Handed, Row, Splits, exported
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.settings.data import ParquetSettings
from medreasoner_monai.settings.training import ModelSettings
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason, parse
from tests.export.conftest import SIZES
from tests.samples import absent_sample, sample


@pytest.fixture
def model(tiny_model: Path) -> Model:
    return Model.open(ModelSettings(path=tiny_model))


def rows(
    path: Path, model: Model, handed: Handed = llama_factory.handed, *, answered: bool = True
) -> list[Row | Reject]:
    return list(exported(Splits.find(path), "train", model, handed, NoProgress(), answered=answered))


def test_the_answer_is_counted_in_the_picture_that_is_exported(data: Path, model: Model) -> None:
    for row, stored in zip(rows(data, model), read_split(data / "train.parquet"), strict=True):
        assert isinstance(row, Row)
        assert row.picture.size == (row.frame.width, row.frame.height) == (84, 56)
        answer = parse(row.conversation[-1]["content"], row.frame)
        assert isinstance(answer, Grounding)
        expected = np.array(stored.box.xyxy) * [84 / 60, 56 / 40, 84 / 60, 56 / 40]
        np.testing.assert_allclose(answer.box.xyxy, expected, atol=0.5)
        np.testing.assert_allclose(json.loads(row.truth)["bbox_2d"], expected, atol=0.5)
        # The bright rectangle is where the answer says, up to the resize's edges.
        inside = np.asarray(row.picture.convert("L"), dtype=float)
        x1, y1, x2, y2 = map(round, answer.box.xyxy)
        assert inside[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() > 110


def test_a_target_that_is_absent_is_exported_as_one(tmp_path: Path, model: Model) -> None:
    write_split(tmp_path / "train.parquet", [absent_sample(1, trace="Nothing is bright."), sample(2)])
    missing, shown = rows(tmp_path / "train.parquet", model)
    assert isinstance(missing, Row) and isinstance(shown, Row)
    assert parse(missing.conversation[-1]["content"], missing.frame) == NoAnswer(
        Reason.NOTHING_FOUND, "Nothing is bright."
    )
    assert json.loads(missing.truth) == {"bbox_2d": None, "point_2d": None}
    assert missing.frame == shown.frame and json.loads(shown.truth)["bbox_2d"] is not None


def test_tokens_are_those_the_processor_counts(data: Path, model: Model) -> None:
    for row in rows(data, model):
        assert isinstance(row, Row)
        system, user, answer = "", row.conversation[0]["content"], row.conversation[1]["content"]
        picture = "<|vision_start|><|image_pad|><|vision_end|>"
        text = f"{system}<|im_start|>user\n{picture}{user}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
        found = model.processor(text=[text], images=[row.picture], return_tensors="pt")["input_ids"]
        assert row.tokens == found.shape[1]


def bad_rows() -> dict[str, dict[str, Any]]:
    good = to_row(sample(0))
    info = good["extra_info"]
    return {
        "no reasoning trace": {**good, "extra_info": {**info, "trace": "  "}},
        "taken for a place of media": {**good, "extra_info": {**info, "trace": "It is <image>."}},
        "the question holds '<image>'": {**good, "prompt": [{"role": "user", "content": "What is <image> of?"}]},
        "not a readable image": {**good, "images": [{"bytes": b"GIF?", "path": None}]},
        "lie outside the image": {
            **good,
            "reward_model": {"ground_truth": '{"bbox_2d": [0, 0, 90, 9], "point_2d": [[1, 1], [2, 2]]}'},
        },
        "the question is empty": {**good, "prompt": [{"role": "user", "content": " "}]},
        "at most 2000 are taken": {**good, "prompt": [{"role": "user", "content": "Where? " * 400}]},
        "not a U-MRG row": {**good, "images": []},
    }


@pytest.mark.parametrize("reason", bad_rows())
def test_a_bad_row_is_set_aside_with_its_reason(tmp_path: Path, model: Model, reason: str) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist([to_row(sample(1)), bad_rows()[reason], to_row(sample(2))], SCHEMA)
    pq.write_table(table, tmp_path / "train.parquet")
    first, second, third = rows(tmp_path, model)

    assert isinstance(first, Row) and isinstance(third, Row)
    assert isinstance(second, Reject)
    assert second.where == "train.parquet row 1"
    assert reason in second.reason


def test_rows_of_elsewhere_need_no_trace_for_grpo(tmp_path: Path, model: Model) -> None:
    import pyarrow as pa

    stored = to_row(sample(0))
    stored["extra_info"] = {"id": "7", "supercategory": "Abdomen", "category": "spleen"}  # all the released files have
    pq.write_table(pa.Table.from_pylist([stored]), tmp_path / "train.parquet")

    (row,) = rows(tmp_path, model, answered=False)
    assert isinstance(row, Row) and row.about["id"] == "7"
    assert [m["role"] for m in row.conversation] == ["user"]
    (refused,) = rows(tmp_path, model, answered=True)
    assert isinstance(refused, Reject) and "model.prompt=direct" in refused.reason


@pytest.mark.parametrize("neighbour", [llama_factory, verl])
def test_an_odd_size_is_shown_in_its_frame_or_set_aside(odd_data: Path, model: Model, neighbour: Any) -> None:
    made = rows(odd_data, model, neighbour.handed)
    for row, size in zip(made, SIZES, strict=True):
        if isinstance(row, Reject):
            assert "crop" in row.reason
            continue
        assert row.frame == model.sees(size[1], size[0])
        width, height = neighbour.handed(*row.picture.size)
        grid = model.processor.image_processor(images=[row.picture.resize((width, height))], return_tensors="pt")
        patches = grid["image_grid_thw"][0].tolist()
        assert (patches[2] * 14, patches[1] * 14) == (row.frame.width, row.frame.height)
    assert sum(isinstance(row, Row) for row in made) >= 4
    assert any(isinstance(row, Reject) for row in made), "else nothing here shows that the check can refuse"


def test_a_part_of_the_training_groups_is_validation(tmp_path: Path) -> None:
    write_split(tmp_path / "all.parquet", [sample(n) for n in range(40)])
    splits = Splits.find(tmp_path / "all.parquet", val_share=0.3)
    groups = {name: {row["extra_info"]["group"] for _, row in splits.rows(name)} for name in splits.names}

    assert groups["train"] | groups["val"] == {f"g{n}" for n in range(20)}
    assert not groups["train"] & groups["val"]
    assert 0 < len(groups["val"]) < 12
    # As curate draws them, so that both leave the same rows out.
    share = ParquetSettings(kind="parquet", train=Path("t"), test=Path("t"), val_share=0.3).val_share
    assert groups["val"] == {f"g{n}" for n in range(20) if in_val(f"g{n}", share)}


def test_splits_are_found_or_refused(data: Path, tmp_path: Path) -> None:
    assert Splits.find(data).val == data / "val.parquet"
    assert Splits.find(data / "train.parquet").val is None
    assert Splits.find(data, val_share=0.1).val is None
    write_split(data / "val.parquet", [])
    assert Splits.find(data).names == ("train",), "curate was asked for no validation"
    write_split(data / "val.parquet", [sample(9)])
    with pytest.raises(InputError, match="does not exist"):
        Splits.find(tmp_path / "none")
    with pytest.raises(InputError, match="give one"):
        Splits.find(data, data / "val.parquet", 0.1)
    (tmp_path / "text.parquet").write_text("no parquet")
    with pytest.raises(InputError, match="not a Parquet file"):
        Splits.find(tmp_path / "text.parquet").count("train")


def test_a_model_is_known_by_its_processor(tmp_path: Path, tiny_model: Path) -> None:
    with pytest.raises(ConfigError, match="--model"):
        Model.open(ModelSettings())
    with pytest.raises(InputError, match="no processor"):
        Model.open(ModelSettings(), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        Model.open(ModelSettings(), tmp_path)
    with pytest.raises(ConfigError, match="no prompt template"):
        Model.open(ModelSettings(prompt="no"), tiny_model)


def test_a_chat_template_without_a_default_system_has_an_empty_one(model: Model) -> None:
    assert model.default_system == ""


def test_the_default_system_is_read_off_the_chat_template(qwen: Path) -> None:
    assert Model.open(ModelSettings(path=qwen)).default_system == "You are a helpful assistant."


def test_another_chat_template_is_refused(model: Model) -> None:
    class Other:
        def apply_chat_template(self, messages: Any, **_: Any) -> str:
            return f"[INST]{messages[0]['content'][1]['text']}[/INST]"

    with pytest.raises(InputError, match="ChatML"):
        _ = replace(model, processor=Other()).default_system


def encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("mode", "kind", "kept"),
    [
        ("RGB", "PNG", True),
        ("L", "PNG", True),
        ("RGB", "TIFF", False),
        ("RGBA", "PNG", False),
        ("P", "PNG", False),
        ("LA", "PNG", False),
    ],
)
def test_a_stored_picture_is_passed_on_where_it_is_the_same(
    tmp_path: Path, model: Model, mode: str, kind: str, kept: bool
) -> None:
    import pyarrow as pa

    noise = np.random.default_rng(0).integers(0, 255, (56, 84, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).convert(mode), kind)
    stored = to_row(sample(0)) | {"images": [{"bytes": data, "path": None}]}
    stored["extra_info"]["trace"] = "It is bright."
    pq.write_table(pa.Table.from_pylist([stored], SCHEMA), tmp_path / "train.parquet")
    (row,) = rows(tmp_path, model)

    assert isinstance(row, Row)
    assert (row.png == data) == kept
    again = Image.open(io.BytesIO(row.png))
    np.testing.assert_array_equal(np.asarray(again.convert("RGB")), np.asarray(row.picture))


def test_a_resized_picture_is_encoded(data: Path, model: Model) -> None:
    for row in rows(data, model):
        assert isinstance(row, Row)
        again = Image.open(io.BytesIO(row.png))
        assert again.mode == "RGB" and again.size == (84, 56)
        np.testing.assert_array_equal(np.asarray(again), np.asarray(row.picture))


def test_an_id_is_exported_once(tmp_path: Path, model: Model) -> None:
    write_split(tmp_path / "train.parquet", [sample(0), sample(1), sample(2, id="s0")])
    write_split(tmp_path / "val.parquet", [sample(3), sample(4, id="s1")])
    splits, ids = Splits.find(tmp_path), Ids()
    found = {
        name: list(exported(splits, name, model, llama_factory.handed, NoProgress(), answered=True, ids=ids))
        for name in splits.names
    }
    refused = {r.where: r.reason for made in found.values() for r in made if isinstance(r, Reject)}
    assert list(refused) == ["train.parquet row 2", "val.parquet row 1"]
    assert "sample s1: another sample in train.parquet row 1 has this id" in refused["val.parquet row 1"]
