"""A worker that is started again after its last step changes nothing."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings, VisionSettings
from medreasoner_monai.training.launch import METRICS, run_worker
from medreasoner_monai.training.merging.source import PROBE
from medreasoner_monai.training.worker import last_checkpoint
from tests.samples import absent_sample, sample

SAMPLES = 16
STEPS = 3
"""An epoch has four steps of 4 samples, or two rounds of 8 questions: the training ends inside one."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    # Every fifth question is for a target that its picture does not show.
    samples = [sample(n) if n % 5 else absent_sample(n, trace="Nothing is bright.") for n in range(SAMPLES)]
    write_split(folder / "train.parquet", samples)
    write_split(folder / "val.parquet", [sample(n) for n in range(SAMPLES, SAMPLES + 2)])
    return folder


def job(folder: Path, model: Path, data: Path, settings: Any) -> dict[str, Any]:
    return {
        "model": str(model),
        "train": str(data / "train.parquet"),
        "val": str(data / "val.parquet"),
        "folder": str(folder),
        "out": str(folder / "out"),
        "prompt": "brief",
        "settings": settings.model_dump(mode="json"),
        "attention": "auto",
        "threads": 1,
    }


def run(worker: str, work: dict[str, Any]) -> None:
    run_worker(f"medreasoner_monai.training.{worker}", work, Path(work["folder"]), lambda row: None)


def written(folder: Path) -> dict[str, str]:
    """Digests of what a training leaves: metrics, checkpoints, and the model where the worker saves it."""
    kept = [folder / METRICS, *(p for part in ("checkpoints", "out") for p in (folder / part).rglob("*"))]
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept if p.is_file()}


SETTINGS = {
    "sft_worker": ColdStartSettings(steps=STEPS, batch=4, save_every=2, validate_samples=2),
    "grpo_worker": GrpoSettings(
        steps=STEPS, prompts=8, rollouts=2, micro_batch=16, max_completion=8, save_every=2, validate_samples=2
    ),
    "vision_worker": VisionSettings(steps=STEPS, batch=4, save_every=2),
}


@pytest.mark.parametrize("worker", SETTINGS)
def test_started_again_after_the_last_step_it_changes_nothing(
    worker: str, tiny_model: Path, data: Path, tmp_path: Path
) -> None:
    work = job(tmp_path, tiny_model, data, SETTINGS[worker])
    run(worker, work)
    before = written(tmp_path)
    assert f"checkpoints/checkpoint-{STEPS}/trainer_state.json" in before
    shutil.rmtree(tmp_path / "out", ignore_errors=True)  # a kill while it was saved

    run(worker, work)

    assert written(tmp_path) == before


def test_a_vision_tower_may_be_left_as_it_is(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    run("vision_worker", job(tmp_path, tiny_model, data, VisionSettings(steps=0)))
    before, after = (load_file(folder / "model.safetensors") for folder in (tiny_model, tmp_path / "out"))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_a_checkpoint_without_its_probe_is_made_again(tmp_path: Path) -> None:
    for step in (2, 4):
        shards = tmp_path / f"checkpoint-{step}" / f"global_step{step}"
        shards.mkdir(parents=True)
        (shards.parent / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    (tmp_path / "checkpoint-2" / "global_step2" / PROBE).touch()  # a kill came between the other and its probe
    assert last_checkpoint(tmp_path, probed=True) == str(tmp_path / "checkpoint-2")
    assert not (tmp_path / "checkpoint-4").exists()
