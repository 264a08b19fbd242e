"""The plan of a training, and everything that is known to be wrong before it starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.settings.loading import load_settings
from medreasoner_monai.training import checks
from medreasoner_monai.training.plan import Plan, plan
from tests.samples import sample
from tests.training.seven_b import SEVEN_B

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ON_GPUS = ("single-gpu-lora", "single-node", "paper")


@pytest.fixture(scope="module")
def seven_b(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sizes of a 7B and a small tokenizer; its weights are not there, only named."""
    folder = tmp_path_factory.mktemp("seven") / "model"
    shutil.copytree(tiny_model, folder)
    config = {**SEVEN_B, "architectures": ["Qwen2_5_VLForConditionalGeneration"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_split(tmp_path / "train.parquet", [sample(n) for n in range(3)])
    write_split(tmp_path / "test.parquet", [sample(9)])
    return tmp_path


def overrides(name: str, model: Path, data: Path) -> list[str]:
    given = [f"model.path={model}", f"data.sources.0.train={data / 'train.parquet'}"]
    given.append(f"data.sources.0.test={data / 'test.parquet'}")
    if name == "paper":
        (data / "hostfile").write_text("".join(f"gpu{n} slots=8  # rack 1\n" for n in range(8)))
        given += [f"{stage}.deepspeed.hostfile={data / 'hostfile'}" for stage in ("cold_start", "grpo")]
    return given


def planned(name: str, model: Path, data: Path, *changes: str, here: bool = False) -> Plan:
    settings = load_settings(CONFIGS / f"{name}.yaml", [*overrides(name, model, data), *changes])
    return plan(settings, data / "work", here=here)


@pytest.mark.parametrize("name", ON_GPUS)
def test_every_gpu_config_fits_the_hardware_it_states(name: str, seven_b: Path, data: Path) -> None:
    found = planned(name, seven_b, data)
    assert list(found.problems) == []
    assert found.parameters == 8_292_166_656
    limit = load_settings(CONFIGS / f"{name}.yaml").hardware.gpu_memory
    for stage in found.stages:
        assert 10 < stage.estimate.total < 0.95 * limit


@pytest.mark.parametrize("name", ["smoke", "starter", "longer"])
def test_every_cpu_config_can_be_planned(name: str, tmp_path: Path) -> None:
    found = plan(load_settings(CONFIGS / f"{name}.yaml"), tmp_path, here=True)
    assert list(found.problems) == []
    assert 100_000 < found.parameters < 5_000_000


def test_the_launchers(seven_b: Path, data: Path) -> None:
    one, node, many = (planned(name, seven_b, data).stages[1] for name in ON_GPUS)
    assert (one.ranks, node.ranks, many.ranks) == (1, 8, 64)
    assert "-m medreasoner_monai.training.grpo_worker" in one.command and "distributed" not in one.command
    assert "torch.distributed.run --standalone --nproc-per-node=8" in node.command
    assert f"--hostfile={data / 'hostfile'} --num_nodes=8 --num_gpus=8 --master_port=29500" in many.command


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("single-node", "grpo.deepspeed.zero_stage=0", "lower micro_batch, shard more"),
        ("single-gpu-lora", "grpo.prompts=64", "most of it keys and values"),
        ("single-node", "grpo.generation.gpu_memory=0.2", "raise grpo.generation.gpu_memory"),
        ("single-node", "hardware.gpus=4", "8 ranks a machine need as many GPUs"),
        ("paper", "hardware.nodes=4", "8 nodes are asked for"),
        ("single-gpu-lora", "grpo.max_completion=126000", "exceed the model's context of 128000"),
        ("single-gpu-lora", "grpo.max_prompt=20", "raise it, or shrink pictures"),
    ],
)
def test_what_does_not_fit_is_said_with_what_to_do(
    name: str, change: str, said: str, seven_b: Path, data: Path
) -> None:
    problems = planned(name, seven_b, data, change).problems
    assert any(said in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("grpo.micro_batch=5", "cannot be shared out evenly"),
        ("cold_start.batch=30", "cannot be shared out evenly"),
        ("grpo.deepspeed.offload=all", "zero_stage 3 shards"),
        ("grpo.deepspeed.nodes=2", "a hostfile"),
        ("grpo.generation.engin=vllm-server", "Did you mean 'engine'"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(change: str, said: str) -> None:
    extra = ["grpo.deepspeed.zero_stage=2"] if "offload" in change else []
    with pytest.raises(ConfigError, match=said):
        load_settings(CONFIGS / "single-node.yaml", [*extra, change])


def test_the_longest_prompt_is_that_of_the_largest_picture(tiny_model: Path, tmp_path: Path) -> None:
    wide = sample(2, image=np.zeros((84, 140), np.uint8), mask=np.pad(np.ones((20, 20), bool), ((0, 64), (0, 120))))
    write_split(tmp_path / "train.parquet", [sample(0), wide, sample(1)])
    source = {"kind": "parquet", "train": tmp_path / "train.parquet", "test": tmp_path / "train.parquet"}
    settings = load_settings(CONFIGS / "smoke.yaml").model_copy()
    settings = type(settings).model_validate({**settings.model_dump(), "data": {"sources": [source]}})
    longest = checks.longest_prompt(settings, tiny_model)
    assert longest is not None and "row 1, a picture of 140 x 84" in longest.where
    # What the processor really makes of it, question and picture.
    processor = load_processor(tiny_model)
    from medreasoner_monai.task.prompts import template

    chat = processor.apply_chat_template(
        template("brief").messages(wide.question), add_generation_prompt=True, tokenize=False
    )
    whole = processor(images=[np.repeat(wide.image[..., None], 3, -1)], text=[chat])["input_ids"]
    assert longest.tokens == len(whole[0])


def without_tokens(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text().replace("<|image_pad|>", "<|nothing|>"))
    config = json.loads((folder / "tokenizer_config.json").read_text())
    text = json.dumps(config).replace("<|image_pad|>", "<|nothing|>")
    (folder / "tokenizer_config.json").write_text(text)


def with_missing_shard(folder: Path) -> None:
    names = {"a": "model.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def of_another_class(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["LlamaForCausalLM"]}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_tokens, "does not know <|image_pad|>"),
        (with_missing_shard, "lacks 1 of its 2 weight files"),
        (of_another_class, "holds LlamaForCausalLM"),
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
    ],
)
def test_a_model_folder_that_will_not_do_is_told_apart(spoil: Any, said: str, tiny_model: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_model, tmp_path / "model")
    assert list(checks.model_problems(tmp_path / "model")) == []
    spoil(tmp_path / "model")
    assert any(said in problem for problem in checks.model_problems(tmp_path / "model"))


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("a slots=8\n", "names 1 machines, 2 are asked for"),
        ("a slots=4\nb slots=8\n", "a has 4 slots"),
        ("a\nb slots=8\n", "expected `name slots=8`"),
    ],
)
def test_a_hostfile_is_read_before_it_is_used(lines: str, said: str, tmp_path: Path) -> None:
    from medreasoner_monai.settings.training import DeepSpeedSettings

    (tmp_path / "hosts").write_text(lines)
    spread = DeepSpeedSettings(processes=8, nodes=2, hostfile=tmp_path / "hosts")
    assert any(said in problem for problem in checks.hostfile_problems(spread, "grpo"))


def test_too_little_disk_is_said_before_anything_is_written(tmp_path: Path) -> None:
    said = checks.disk_problem(tmp_path / "not" / "yet", 1e9)
    assert said is not None and "need up to 1000000000 GB" in said
    assert checks.disk_problem(tmp_path, 1e-6) is None


def test_where_it_is_to_run_missing_gpus_are_a_problem(seven_b: Path, data: Path) -> None:
    elsewhere = planned("single-node", seven_b, data)
    here = planned("single-node", seven_b, data, here=True)
    assert any("here are" in note for note in elsewhere.notes) and not elsewhere.problems
    assert any("here are" in problem for problem in here.problems)


def test_the_command_says_it_and_ends_with_2_on_problems(seven_b: Path, data: Path) -> None:
    def run(name: str, *changes: str) -> Any:
        given = [a for change in [*overrides(name, seven_b, data), *changes] for a in ("--set", change)]
        return CliRunner().invoke(app, ["train", "--config", str(CONFIGS / f"{name}.yaml"), "--dry-run", *given])

    good = run("single-gpu-lora")
    assert good.exit_code == 0, good.output
    for words in ("8.29 billion parameters", "memory a rank", "checkpoints", "at most about", "no problem found"):
        assert words in good.output
    bad = run("single-gpu-lora", "grpo.max_prompt=20")
    assert bad.exit_code == 2 and "problem grpo.max_prompt is 20" in bad.output
