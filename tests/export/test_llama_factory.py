"""The export for LLaMA-Factory: files as documented, contents as the cold start has them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from jsonschema import Draft202012Validator
from PIL import Image
from transformers import Seq2SeqTrainingArguments
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.schema import to_row, write_split
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.export.llama_factory import export_llama_factory, handed
from medreasoner_monai.export.llama_factory_settings import Machine
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Splits
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.dataset import training_set
from tests.export.schemas import DATASET_INFO, SHAREGPT
from tests.samples import sample

ONE_GPU = Machine()
# Of its own; every other key of the YAML is one of transformers' training arguments.
OWN = {
    *("model_name_or_path", "image_max_pixels", "image_min_pixels", "disable_gradient_checkpointing"),
    *("stage", "finetuning_type", "freeze_vision_tower", "freeze_multi_modal_projector", "freeze_language_model"),
    *("dataset_dir", "dataset", "eval_dataset", "template", "default_system", "cutoff_len", "train_on_prompt"),
}


def export(
    settings: Settings, data: Path, tiny_model: Path, out: Path, machine: Machine = ONE_GPU, prompt: str = "brief"
) -> Path:
    model = Model.open(settings.model.model_copy(update={"prompt": prompt}), tiny_model)
    export_llama_factory(settings, model, Splits.find(data), out, machine, NoProgress())
    return out


def lines(folder: Path, split: str = "train") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def sft(folder: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((folder / "sft.yaml").read_text(encoding="utf-8"))
    return values


@pytest.mark.parametrize("prompt", ["brief", "think", "direct"])
def test_the_files_are_as_documented(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path, prompt: str
) -> None:
    out = export(settings, data, tiny_model, tmp_path / "out", prompt=prompt)

    info = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
    Draft202012Validator(DATASET_INFO).validate(info)
    assert [d["file_name"] for d in info.values()] == ["train.jsonl", "val.jsonl"]
    for split, count in (("train", 8), ("val", 3)):
        found = lines(out, split)
        assert len(found) == count
        for line in found:
            Draft202012Validator(SHAREGPT).validate(line)
            assert (out / line["images"][0]).is_file()
    assert sft(out)["dataset"] == "medreasoner_train" and sft(out)["eval_dataset"] == "medreasoner_val"


@pytest.mark.parametrize("prompt", ["brief", "think", "direct"])
def test_what_is_learnt_is_what_the_cold_start_learns(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path, prompt: str
) -> None:
    out = export(settings, data, tiny_model, tmp_path / "out", prompt=prompt)
    ours = training_set(data / "train.parquet", load_processor(tiny_model), template(prompt))

    for line, row in zip(lines(out), ours, strict=True):
        said = [{**m, "content": m["content"].removeprefix("<image>")} for m in line["messages"]]
        assert said == [*row["prompt"], *row["completion"]]
        np.testing.assert_array_equal(np.asarray(Image.open(out / line["images"][0])), np.asarray(row["images"][0]))


def test_questions_about_one_picture_share_its_file(settings: Settings, tiny_model: Path, tmp_path: Path) -> None:
    first = sample(0)
    write_split(tmp_path / "train.parquet", [first, sample(0, id="again", question="And where else?"), sample(1)])
    out = export(settings, tmp_path / "train.parquet", tiny_model, tmp_path / "out")

    assert len(list((out / "images").iterdir())) == 2
    assert lines(out)[0]["images"] == lines(out)[1]["images"] != lines(out)[2]["images"]


def test_every_setting_is_carried_over(settings: Settings, data: Path, tiny_model: Path, tmp_path: Path) -> None:
    values = sft(export(settings, data, tiny_model, tmp_path / "out", Machine(gpus=3, at_once=1, zero_stage=3)))

    cold = settings.cold_start
    expected = {
        "model_name_or_path": str(tiny_model),
        "max_steps": 7,
        "learning_rate": 3e-5,
        "warmup_steps": 3,
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "weight_decay": 0.2,
        "freeze_vision_tower": False,
        "freeze_multi_modal_projector": False,
        "save_steps": 4,
        "seed": 5,
        "template": "qwen2_vl",
        "default_system": "",
        "bf16": True,
        "deepspeed": "deepspeed.json",
    }
    assert {name: values[name] for name in expected} == expected
    shared = [values[n] for n in ("per_device_train_batch_size", "gradient_accumulation_steps")]
    assert shared == [1, 2] and cold.batch == 3 * 1 * 2
    assert values["image_max_pixels"] >= 84 * 56 >= values["image_min_pixels"]
    config = json.loads((tmp_path / "out" / "deepspeed.json").read_text(encoding="utf-8"))
    assert config["zero_optimization"]["stage"] == 3

    known = {field.name for field in dataclasses.fields(Seq2SeqTrainingArguments)}
    assert not set(values) - known - OWN


def test_no_setting_of_the_cold_start_is_forgotten(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    readme = (export(settings, data, tiny_model, tmp_path / "out") / "README.md").read_text(encoding="utf-8")
    for name in type(settings.cold_start).model_fields:
        assert f"cold_start.{name}" in readme


def test_the_longest_sample_is_not_cut(settings: Settings, tiny_model: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "train.parquet", [sample(0), sample(1, trace="It is bright. " * 100)])
    out = export(settings, tmp_path / "train.parquet", tiny_model, tmp_path / "out")

    processor = load_processor(tiny_model)
    longest = max(lines(out), key=lambda line: len(line["messages"][1]["content"]))
    text = f"<|im_start|>{longest['messages'][1]['content']}<|im_end|>\n"
    assert sft(out)["cutoff_len"] > len(processor.tokenizer(text)["input_ids"]) + 6


@pytest.mark.parametrize(
    ("machine", "found"), [(Machine(), (6, 1)), (Machine(2), (3, 1)), (Machine(2, 1), (1, 3)), (Machine(1, 2), (2, 3))]
)
def test_a_batch_is_shared_out(machine: Machine, found: tuple[int, int]) -> None:
    assert machine.share(6) == found


@pytest.mark.parametrize("machine", [Machine(4), Machine(2, 2), Machine(1, 12), Machine(7)])
def test_a_batch_that_cannot_be_shared_out_is_refused(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path, machine: Machine
) -> None:
    with pytest.raises(ConfigError, match="cannot be shared out evenly"):
        export(settings, data, tiny_model, tmp_path / "out", machine)
    assert not (tmp_path / "out").exists()


def test_bad_rows_are_listed_and_no_row_at_all_is_refused(settings: Settings, tiny_model: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from medreasoner_monai.data.schema import SCHEMA

    bad = to_row(sample(1, trace=""))
    pq.write_table(pa.Table.from_pylist([to_row(sample(0)), bad], SCHEMA), tmp_path / "some.parquet")
    pq.write_table(pa.Table.from_pylist([bad], SCHEMA), tmp_path / "none.parquet")

    out = export(settings, tmp_path / "some.parquet", tiny_model, tmp_path / "out")
    (reject,) = json.loads((out / "rejects.json").read_text(encoding="utf-8"))["train"]
    assert reject["where"] == "some.parquet row 1" and "no reasoning trace" in reject["reason"]
    assert [line["id"] for line in lines(out)] == ["s0"]

    with pytest.raises(InputError, match="no sample is left in train; the first was set aside because: sample s1 has"):
        export(settings, tmp_path / "none.parquet", tiny_model, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("size", [(84, 56), (28, 28), (20, 700), (700, 3), (30, 6030), (5700, 28), (27, 29)])
def test_a_picture_is_handed_over_as_its_plugin_would(size: tuple[int, int]) -> None:
    width, height = handed(*size)
    assert min(width, height) >= 28 and 1 / 200 <= width / height <= 200
    if min(size) >= 28 and 1 / 200 <= size[0] / size[1] <= 200:
        assert (width, height) == size


def test_the_command_writes_and_says_where(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("name: a try\ncold_start: {batch: 4}\n")
    arguments = ["export", "llama-factory", "--config", str(config), "--data", str(data), "--model", str(tiny_model)]
    arguments += ["--out", str(tmp_path / "out"), "--gpus", "2", "--set", "cold_start.steps=9"]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out" / "README.md")
    assert "8 train, 3 val, 0 set aside" in done.stderr
    assert sft(tmp_path / "out")["max_steps"] == 9
    readme = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "CUDA_VISIBLE_DEVICES=0,1 llamafactory-cli train sft.yaml" in readme

    again = CliRunner().invoke(app, arguments)
    assert isinstance(again.exception, InputError) and "no empty folder" in str(again.exception)
