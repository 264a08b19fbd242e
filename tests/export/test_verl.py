"""The export for verl: rows as documented, rewards as ours, a command line that bash and Hydra take."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.data.schema import read_split, write_split
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.export.mapped import Facts
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Splits
from medreasoner_monai.export.verl import export_verl
from medreasoner_monai.export.verl_settings import Cluster, check, grpo_settings, override
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.rewards import suite
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.training import GrpoSettings
from medreasoner_monai.task.answer import render_nothing
from medreasoner_monai.task.geometry import Frame
from tests.export.schemas import VERL_ROW
from tests.integration.conftest import ROOT
from tests.samples import absent_sample, sample

TRUTH = '{"bbox_2d": [10, 10, 40, 40], "point_2d": [[20, 20], [30, 30]]}'
ONE_GPU = Cluster(gpus=1)
COMPLETIONS = [
    '<think>a</think><answer>{"bbox": [10, 10, 40, 40], "points_1": [20, 20], "points_2": [30, 30]}</answer>',
    '<think>a</think><answer>{"bbox": [12, 8, 44, 39], "points_1": [21, 20], "points_2": [34, 33]}</answer>',
    '<think></think><answer>{"bbox": [12, 8, 44, 39], "points_1": [21, 20], "points_2": [34, 33]}</answer>',
    '<think>a</think><answer>{"bbox": [12, 8, 99, 39], "points_1": [21, 20], "points_2": [34, 33]}</answer>',
    '<think>a</think><answer>{"bbox": [40, 40, 10, 10], "points_1": [20, 20], "points_2": [30, 30]}</answer>',
    '<think>a</think><answer>{"bbox": [NaN, 8, 44, 39], "points_1": [21, 20]}</answer>',
    '<answer>{"bbox": [12, 8, 44, 39], "points_1": [21, 20], "points_2": [34, 33]}</answer>',
    "no",
    "",
]


def export(
    settings: Settings,
    data: Path,
    tiny_model: Path,
    out: Path,
    cluster: Cluster = ONE_GPU,
    prompt: str = "brief",
) -> Path:
    model = Model.open(settings.model.model_copy(update={"prompt": prompt}), tiny_model)
    export_verl(settings, model, Splits.find(data), out, cluster, NoProgress())
    return out


def reward_file(path: Path) -> Any:
    """A file's ``compute_score``, loaded by its path as verl does."""
    spec = importlib.util.spec_from_file_location("exported_reward", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.compute_score


@pytest.mark.parametrize("prompt", ["brief", "think"])
def test_rows_are_as_documented_and_in_the_models_frame(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path, prompt: str
) -> None:
    out = export(settings, data, tiny_model, tmp_path / "out", prompt=prompt)

    for split, count in (("train", 8), ("val", 3)):
        rows = pq.read_table(out / f"{split}.parquet").to_pylist()
        assert len(rows) == count
        for index, (row, stored) in enumerate(zip(rows, read_split(data / f"{split}.parquet"), strict=True)):
            Draft202012Validator(VERL_ROW).validate(row)
            info = row["extra_info"]
            assert (info["split"], info["index"], info["id"]) == (split, index, stored.id)
            picture = Image.open(io.BytesIO(row["images"][0]["bytes"]))
            assert picture.size == (info["frame_width"], info["frame_height"]) == (84, 56)
            truth = json.loads(row["reward_model"]["ground_truth"])
            x1, y1, x2, y2 = stored.box.xyxy
            expected = [x1 * 84 / 60, y1 * 56 / 40, x2 * 84 / 60, y2 * 56 / 40]
            assert truth["bbox_2d"] == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("name", ["base", "soft", "hard", "abstain"])
@pytest.mark.parametrize("prompt", ["brief", "direct"])
def test_the_reward_file_scores_as_the_suite(
    data: Path, tiny_model: Path, tmp_path: Path, name: str, prompt: str
) -> None:
    weights = {"base_iou": 3.0} if name == "base" else {"bbox_iou": 0.5}
    rewards = {"suite": name, "point_overlap": "released", "weights": weights}
    settings = Settings.model_validate({"grpo": {"prompts": 4, "micro_batch": 4, "rewards": rewards}})
    compute = reward_file(export(settings, data, tiny_model, tmp_path / "out", prompt=prompt) / "reward.py")
    chosen = suite(name, weights=weights, point_overlap="released", think=prompt != "direct")

    info = {"frame_width": 84, "frame_height": 56, "index": 1}
    seen = set()
    for text in COMPLETIONS if chosen.think else [c.replace("<think>a</think>", "") for c in COMPLETIONS]:
        found = compute("umrg", text, TRUTH, info, reward_router_address=None)
        expected = chosen.score([text], [TRUTH], [Frame(84, 56, "model")])
        assert found == {term: values[0] for term, values in expected.items()}
        assert found["score"] == pytest.approx(sum(chosen.weight(t) * v for t, v in found.items() if t != "score"))
        seen.add(found["score"])
    assert len(seen) > 2


def test_the_reward_file_pays_for_finding_nothing_where_nothing_is(
    data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    write_split(data / "train.parquet", [absent_sample(n, trace="Nothing is bright.") for n in range(8)])
    rewards = {"suite": "abstain", "weights": {"abstention": 2.0}}
    settings = Settings.model_validate({"grpo": {"prompts": 4, "micro_batch": 4, "rewards": rewards}})
    out = export(settings, data, tiny_model, tmp_path / "out", prompt="brief")
    row = pq.read_table(out / "train.parquet").to_pylist()[0]
    compute = reward_file(out / "reward.py")

    truth, nothing = row["reward_model"]["ground_truth"], render_nothing("a")
    assert compute("umrg", nothing, truth, row["extra_info"])["score"] == 4.0
    assert compute("umrg", COMPLETIONS[0], truth, row["extra_info"])["score"] == 2.0


def test_coordinates_outside_the_picture_cost_what_they_cost_in_training(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    compute = reward_file(export(settings, data, tiny_model, tmp_path / "out") / "reward.py")
    outside = COMPLETIONS[3]
    assert compute("umrg", outside, TRUTH, {"frame_width": 84, "frame_height": 56})["bbox_iou"] == 0
    assert compute("umrg", outside, TRUTH, {"frame_width": 112, "frame_height": 56})["bbox_iou"] > 0
    for info in (None, {}, {"frame_width": 84}):
        with pytest.raises(InputError, match="extra_info lacks"):
            compute("umrg", outside, TRUTH, info)


def test_the_reward_needs_no_heavy_package() -> None:
    code = "import sys, medreasoner_monai.export.verl_reward; print(*{m.partition('.')[0] for m in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    loaded = set(done.stdout.split()) - sys.stdlib_module_names
    assert "medreasoner_monai" in loaded and "numpy" in loaded
    assert not loaded & {"torch", "transformers", "pydantic", "pyarrow", "PIL", "trl", "datasets", "typer", "monai"}


def run_sh(folder: Path, tmp_path: Path, *arguments: str, **environment: str) -> list[str]:
    """What ``run.sh`` passes to its interpreter, in whose place stands a script that writes its arguments down."""
    fake = tmp_path / "python in a folder"
    fake.write_text(f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n")
    fake.chmod(0o755)
    done = subprocess.run(
        ["bash", str(folder / "run.sh"), *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, **environment, "PYTHON": str(fake)},
    )
    found: list[str] = json.loads(done.stdout)
    return found


def test_the_command_line_is_whole_wherever_the_folder_lies(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    out = export(settings, data, tiny_model, tmp_path / 'a $(folder) `of` "mine"')
    module, *overrides = run_sh(out, tmp_path, "trainer.nnodes=8")[1:]

    assert module == "verl.trainer.main_ppo"
    values = dict(o.split("=", 1) for o in overrides)
    assert values["data.train_files"] == f"'{out}/train.parquet'"
    assert values["data.val_files"] == f"'{out}/val.parquet'"
    assert values["custom_reward_function.path"] == f"'{out}/reward.py'"
    assert values["actor_rollout_ref.model.path"] == f"'{tiny_model}'"
    assert values["trainer.experiment_name"] == "'a try'"
    assert values["trainer.nnodes"] == "8", "what is given last is what Hydra takes"
    other = dict(o.split("=", 1) for o in run_sh(out, tmp_path, MODEL="/other")[2:])
    assert other["actor_rollout_ref.model.path"] == "'/other'"


def test_every_setting_is_carried_over(settings: Settings, data: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = export(settings, data, tiny_model, tmp_path / "out", Cluster(nodes=2, gpus=1))
    values = dict(o.split("=", 1) for o in run_sh(out, tmp_path)[2:])

    expected = {
        "algorithm.adv_estimator": "'grpo'",
        "data.train_batch_size": "4",
        "data.max_response_length": "77",
        "data.seed": "5",
        "actor_rollout_ref.actor.optim.lr": "2e-06",
        "actor_rollout_ref.actor.optim.lr_warmup_steps": "2",  # 3 updates, of which a round has 2
        "actor_rollout_ref.actor.ppo_mini_batch_size": "2",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu": "3",
        "actor_rollout_ref.actor.loss_agg_mode": "'seq-mean-token-mean'",
        "actor_rollout_ref.actor.use_kl_loss": "True",
        "actor_rollout_ref.actor.kl_loss_coef": "0.02",
        "actor_rollout_ref.actor.kl_loss_type": "'low_var_kl'",
        "actor_rollout_ref.actor.freeze_vision_tower": "False",
        "actor_rollout_ref.rollout.n": "6",
        "actor_rollout_ref.rollout.temperature": "0.9",
        "trainer.total_training_steps": "9",
        "trainer.total_epochs": "5",  # 8 prompts are 2 rounds an epoch
        "trainer.save_freq": "4",
        "trainer.test_freq": "4",
        "trainer.nnodes": "2",
        "trainer.n_gpus_per_node": "1",
        "trainer.logger": "['console']",
    }
    assert {name: values[name] for name in expected} == expected


def test_no_grpo_setting_is_forgotten(settings: Settings, data: Path, tiny_model: Path, tmp_path: Path) -> None:
    out = export(settings, data, tiny_model, tmp_path / "out")
    readme = (out / "README.md").read_text(encoding="utf-8")
    for name in set(GrpoSettings.model_fields) - {"rewards", "lora"}:
        assert f"grpo.{name}" in readme, name
    assert "`hard`" in readme and "bbox_iou x 2" in readme


def test_adapters_losses_and_ratios_are_verls_too(settings: Settings, tiny_model: Path) -> None:
    loss = {"kind": "dapo", "importance": "sequence", "clip": 0.1, "clip_high": 0.28, "advantage_scale": "none"}
    grpo = GrpoSettings(prompts=4, rollouts=4, micro_batch=4, loss=loss, lora={"rank": 8, "alpha": 16})  # type: ignore[arg-type]
    model = Model.open(settings.model, tiny_model)
    values = {m.name: m.value for m in grpo_settings(grpo, model, {"train": Facts(rows=9, longest=9)}, Cluster(), "x")}
    actor = "actor_rollout_ref.actor"
    assert values[f"{actor}.loss_agg_mode"] == "token-mean"
    assert values[f"{actor}.policy_loss.loss_mode"] == "gspo"
    assert (values[f"{actor}.clip_ratio_low"], values[f"{actor}.clip_ratio_high"]) == (0.1, 0.28)
    assert values["algorithm.norm_adv_by_std_in_grpo"] is False
    assert values["actor_rollout_ref.model.lora_rank"] == 8


def test_a_prompt_longer_than_the_rest_is_let_in(settings: Settings, tiny_model: Path, tmp_path: Path) -> None:
    long = sample(3, question="Where is it bright? " * 60)
    write_split(tmp_path / "train.parquet", [sample(0), sample(1), sample(2), long])
    out = export(settings, tmp_path / "train.parquet", tiny_model, tmp_path / "out")
    values = dict(o.split("=", 1) for o in run_sh(out, tmp_path)[2:])
    record = json.loads((out / "export.json").read_text(encoding="utf-8"))
    assert 300 < record["longest_tokens"] <= int(values["data.max_prompt_length"])
    assert (values["trainer.test_freq"], values["data.val_files"]) == ("-1", f"'{out}/train.parquet'")
    assert "no validation split" in (out / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("changes", "cluster", "said"),
    [
        ({"updates": 8, "rollouts": 8, "micro_batch": 1}, Cluster(), "whole prompts"),
        ({}, Cluster(nodes=8, gpus=8), "cannot be shared out evenly"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(changes: dict[str, int], cluster: Cluster, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check(GrpoSettings(**{"prompts": 4, "rollouts": 4, "micro_batch": 4, **changes}), cluster)


def test_a_split_smaller_than_a_round_is_refused(tiny_model: Path, settings: Settings) -> None:
    model = Model.open(settings.model, tiny_model)
    with pytest.raises(ConfigError, match="a round takes 4 prompts"):
        grpo_settings(settings.grpo, model, {"train": Facts(rows=3, longest=9)}, Cluster(), "x")


def test_texts_are_quoted_for_hydra() -> None:
    assert override("a", "it's") == r"a='it\'s'"
    assert override("a", 0.01) == "a=0.01"


def test_the_command_writes_and_says_where(data: Path, tiny_model: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("grpo: {prompts: 4, rollouts: 4, micro_batch: 4}\n")
    arguments = ["export", "verl", "--config", str(config), "--data", str(data / "train.parquet")]
    arguments += ["--model", str(tiny_model), "--val-share", "0.4", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, arguments)

    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(tmp_path / "out" / "README.md")
    counts = [pq.ParquetFile(tmp_path / "out" / f"{s}.parquet").metadata.num_rows for s in ("train", "val")]
    assert sum(counts) == 8 and min(counts) > 0
