"""The neighbours' own loaders on our exports, each in an environment of its own.

Neither can live in ours (they pin other versions of transformers and TRL), so the tests run where an interpreter that
has the project is named: ``MEDREASONER_LLAMAFACTORY_PYTHON`` (LLaMA-Factory 0.9.5), ``MEDREASONER_VERL_PYTHON`` (verl
0.9.1 and qwen-vl-utils; no GPU, no vLLM).
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.export.llama_factory import export_llama_factory
from medreasoner_monai.export.llama_factory_settings import Machine
from medreasoner_monai.export.model import Model
from medreasoner_monai.export.rows import Splits
from medreasoner_monai.export.verl import export_verl
from medreasoner_monai.export.verl_settings import Cluster
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.rewards import suite
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.task.geometry import Frame
from medreasoner_monai.task.prompts import template
from medreasoner_monai.training.dataset import training_set
from tests.export.conftest import SIZES, odd
from tests.export.test_verl import COMPLETIONS, run_sh
from tests.integration.conftest import ROOT
from tests.samples import sample

HERE = Path(__file__).parent


def interpreter(variable: str, project: str) -> str:
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{project} lives in an environment of its own: name its interpreter by {variable}")
    return path


def run(*command: str, cwd: Path) -> None:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(cwd / "hf"), "CUDA_VISIBLE_DEVICES": ""}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


@pytest.fixture(params=["starter", "7B"])
def asked(request: pytest.FixtureRequest, settings: Settings) -> Model:
    """The starter's processor with the prompt it is trained with, the real one with that of a ready-made model."""
    folder, prompt = ("tiny_model", "brief") if request.param == "starter" else ("qwen", "think")
    return Model.open(settings.model.model_copy(update={"prompt": prompt}), request.getfixturevalue(folder))


@pytest.fixture
def split(tmp_path: Path) -> Path:
    """Ordinary pictures, and some of odd sizes."""
    write_split(tmp_path / "train.parquet", [*(sample(n) for n in range(4)), *map(odd, SIZES)])
    return tmp_path / "train.parquet"


def expected(split: Path, model: Model) -> dict[str, dict[str, Any]]:
    """By sample, what our own training gives the model."""
    found = {}
    for row in training_set(split, model.processor, template(model.prompt.name)):
        turns = [_turn(m) for m in [*row["prompt"], *row["completion"]]]
        prompt = model.processor.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
        whole = model.processor.apply_chat_template(turns, tokenize=False)
        asked = model.processor(text=[prompt], images=row["images"], return_tensors="pt")
        read = model.processor(text=[whole], images=row["images"], return_tensors="pt")
        start = asked["input_ids"].shape[1]
        ids = read["input_ids"][0].tolist()
        found[row["id"]] = {
            "prompt": ids[:start],
            "input_ids": ids,
            "labels": [-100] * start + ids[start:],
            "grid": read["image_grid_thw"].tolist(),
            "pixels": read["pixel_values"].double().sum().item(),
            "frame": Frame(row["frame_width"], row["frame_height"], "model"),
            "truth": row["ground_truth"],
        }
    return found


def _turn(message: dict[str, str]) -> dict[str, Any]:
    picture = [{"type": "image"}] if message["role"] == "user" else []
    return {"role": message["role"], "content": [*picture, {"type": "text", "text": message["content"]}]}


def test_llama_factory_trains_on_the_very_tokens_and_pixels(
    settings: Settings, split: Path, asked: Model, tmp_path: Path
) -> None:
    python = interpreter("MEDREASONER_LLAMAFACTORY_PYTHON", "LLaMA-Factory")
    out = tmp_path / "out"
    export_llama_factory(settings, asked, Splits.find(split, split), out, Machine(), NoProgress())
    run(python, str(HERE / "probe_llama_factory.py"), str(out), str(tmp_path / "found.json"), cwd=out)

    found = json.loads((tmp_path / "found.json").read_text())
    names = [json.loads(line)["id"] for line in (out / "train.jsonl").read_text().splitlines()]
    ours = expected(split, asked)
    assert found["eval"] == len(found["rows"]) == len(names) >= 8
    for name, row in zip(names, found["rows"], strict=True):
        for part in ("input_ids", "labels", "grid"):
            assert row[part] == ours[name][part], (name, part)
        assert row["pixels"] == pytest.approx(ours[name]["pixels"], abs=0.5)


def test_llama_factory_trains_and_what_it_saves_is_a_model_of_ours(
    settings: Settings, data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    python = interpreter("MEDREASONER_LLAMAFACTORY_PYTHON", "LLaMA-Factory")
    out, model = tmp_path / "out", Model.open(settings.model, tiny_model)
    export_llama_factory(settings, model, Splits.find(data), out, Machine(), NoProgress())
    cli = Path(python).with_name("llamafactory-cli")
    run(str(cli), "train", "sft.yaml", "max_steps=2", "bf16=false", "use_cpu=true", cwd=out)

    theirs = json.loads((out / "output" / "eval_results.json").read_text())
    assert theirs["eval_loss"] == pytest.approx(loss(out / "output", data / "val.parquet"), abs=1e-3)
    assert loss(tiny_model, data / "val.parquet") != pytest.approx(theirs["eval_loss"], abs=1e-3), "it has not learnt"


def loss(folder: Path, split: Path) -> float:
    """Mean over the answers' tokens, by our own data and transformers' model."""
    from transformers import Qwen2_5_VLForConditionalGeneration

    torch.set_num_threads(1)
    processor = load_processor(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    total, count = 0.0, 0
    for row in training_set(split, processor, template("brief")):
        turns = [_turn(m) for m in [*row["prompt"], *row["completion"]]]
        prompt = processor.apply_chat_template(turns[:-1], tokenize=False, add_generation_prompt=True)
        whole = processor.apply_chat_template(turns, tokenize=False)
        start = processor(text=[prompt], images=row["images"], return_tensors="pt")["input_ids"].shape[1]
        read = processor(text=[whole], images=row["images"], return_tensors="pt", return_mm_token_type_ids=True)
        with torch.no_grad():
            logits = model(**read).logits[0, start - 1 : -1]
        answer = read["input_ids"][0, start:]
        total += torch.nn.functional.cross_entropy(logits, answer, reduction="sum").item()
        count += len(answer)
    return total / count


def test_verl_reads_configures_and_rewards(settings: Settings, split: Path, asked: Model, tmp_path: Path) -> None:
    python = interpreter("MEDREASONER_VERL_PYTHON", "verl")
    out = tmp_path / "out"
    counts = export_verl(settings, asked, Splits.find(split), out, Cluster(gpus=2), NoProgress())
    texts = [COMPLETIONS[n % len(COMPLETIONS)] or "nothing" for n in range(counts["train"])]
    overrides = tmp_path / "overrides.json"
    overrides.write_text(json.dumps(run_sh(out, tmp_path)[2:]))
    (tmp_path / "texts.json").write_text(json.dumps(texts))
    arguments = [str(overrides), str(tmp_path / "texts.json"), str(tmp_path / "found.json")]
    run(python, str(HERE / "probe_verl.py"), *arguments, cwd=tmp_path)

    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["lr"], found["rollouts"]) == (2e-6, 6)
    assert found["reference"] and not found["critic"], "a KL term against the start, and no critic"
    import pyarrow.parquet as pq

    names = [info["id"] for info in pq.read_table(out / "train.parquet")["extra_info"].to_pylist()]
    ours = expected(split, asked)
    grpo = settings.grpo.rewards
    chosen = suite(grpo.suite, weights=grpo.weights, point_overlap=grpo.point_overlap, think=asked.prompt.think)
    assert len(found["rows"]) == len(names) >= 8
    for name, text, row in zip(names, texts, found["rows"], strict=True):
        assert row["input_ids"] == ours[name]["prompt"], name
        assert row["grid"] == ours[name]["grid"], name
        assert row["pixels"] == pytest.approx(ours[name]["pixels"], abs=0.5)
        values = chosen.score([text], [ours[name]["truth"]], [ours[name]["frame"]])
        assert row["reward"]["reward_score"] == pytest.approx(values["score"][0])
        assert row["reward"]["reward_extra_info"] == pytest.approx({term: v[0] for term, v in values.items()})
