"""Two ranks on one machine: sharded in two ways, all weights or adapters; killed, resumed, stopped, and a rank lost."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from medreasoner_monai.data.schema import write_split
from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings
from medreasoner_monai.training.finish import best_checkpoint, save_whole
from medreasoner_monai.training.grpo_stage import keep_shards
from medreasoner_monai.training.launch import METRICS, STOPPED, read_rows
from medreasoner_monai.training.merging.merge import merge_to
from tests.samples import sample
from tests.training import ranks

pytestmark = [pytest.mark.chain, pytest.mark.timeout(900)]
SFT, GRPO = (f"medreasoner_monai.training.{name}_worker" for name in ("sft", "grpo"))
STEPS, SAVED = 4, 1
COMPARED = ("loss", "reward", "kl", "grad_norm", "eval_loss", "eval_reward", "learning_rate")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_split(folder / "train.parquet", [sample(n) for n in range(32)])
    write_split(folder / "val.parquet", [sample(n) for n in range(32, 36)])
    return folder


@pytest.fixture(scope="module")
def model(tiny_model: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that sometimes writes an answer and sometimes not, so that rewards differ within a group."""
    folder = tmp_path_factory.mktemp("taught")
    settings = ColdStartSettings(
        steps=60, batch=8, learning_rate=6e-3, warmup_steps=5, save_every=60, validate_samples=0, freeze_vision=False
    )
    finish(spec(SFT, tiny_model, data, folder, settings))
    save_whole(best_checkpoint(folder / "checkpoints"), tiny_model, folder / "model")
    return folder / "model"


def grpo_spec(model: Path, data: Path, folder: Path, zero: int, lora: bool, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "steps": STEPS,
        "prompts": 4,
        "rollouts": 2,
        "micro_batch": 2,
        "max_completion": 40,
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "save_every": SAVED,
        "validate_samples": 2,
        "lora": {"rank": 4, "alpha": 8} if lora else None,
        "deepspeed": {"processes": 2, "zero_stage": zero},
    }
    settings = GrpoSettings(**(values | changes))
    return spec(GRPO, model, data, folder, settings)


def spec(worker: str, model: Path, data: Path, folder: Path, settings: Any) -> dict[str, Any]:
    job = {
        "model": str(model),
        "train": str(data / "train.parquet"),
        "val": str(data / "val.parquet"),
        "folder": str(folder),
        "prompt": "brief",
        "settings": settings.model_dump(mode="json"),
        "attention": "auto",
        "threads": 2,
    }
    spread = settings.deepspeed.model_dump(mode="json") if settings.deepspeed else None
    return {"worker": worker, "job": job, "folder": str(folder), "spread": spread, "kill_at": None}


def finish(what: dict[str, Any]) -> str:
    process = ranks.start(what)
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]
    return said


def curve(folder: Path) -> dict[int, dict[str, float]]:
    """What each step measured, training and validation together."""
    steps: dict[int, dict[str, float]] = {}
    for row in read_rows(folder / METRICS):
        steps.setdefault(row["step"], {}).update({k: v for k, v in row.items() if k in COMPARED})
    return steps


def alive(folder: Path) -> list[str]:
    """Processes that work in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, ValueError):
            continue
        if str(folder) in line and entry.name != str(os.getpid()):
            found.append(line)
    return found


@pytest.mark.parametrize("lora", [False, True], ids=["full", "lora"])
@pytest.mark.parametrize("zero", [2, 3])
def test_killed_at_a_random_step_it_resumes_to_the_same_curve(
    model: Path, data: Path, tmp_path: Path, zero: int, lora: bool
) -> None:
    undisturbed, killed = tmp_path / "undisturbed", tmp_path / "killed"
    finish(grpo_spec(model, data, undisturbed, zero, lora))

    at = random.randint(2, STEPS)
    process = ranks.start(grpo_spec(model, data, killed, zero, lora) | {"kill_at": at})
    process.communicate(timeout=600)
    assert process.returncode == -signal.SIGKILL
    wait_for(lambda: not alive(killed))
    finish(grpo_spec(model, data, killed, zero, lora))

    there, here = curve(undisturbed), curve(killed)
    assert sorted(there) == list(range(1, STEPS + 1)) == sorted(here)
    assert any(row["grad_norm"] > 0 for row in there.values()), "nothing was learnt, so nothing is shown"
    for step in there:
        assert here[step] == pytest.approx(there[step], rel=1e-5, abs=1e-7), f"step {step}, killed at {at}"
    best = best_checkpoint(killed / "checkpoints")
    assert best.name == best_checkpoint(undisturbed / "checkpoints").name

    # What the stage keeps of it, merged, answers as the live model did.
    keep_shards(best, tmp_path / "kept")
    facts = merge_to(tmp_path / "merged", tmp_path / "kept", base=model)
    assert facts["probe"]["max_abs_difference"] <= 1e-4
    assert weights_differ(model, tmp_path / "merged"), "the merged model is the one that training began with"
    assert {p.name for p in undisturbed.glob("rank-*.log")} == {"rank-0.log", "rank-1.log"}


def weights_differ(one: Path, other: Path) -> bool:
    a, b = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert set(a) == set(b)
    return any(not torch.equal(a[name].float(), b[name].float()) for name in a)


def test_sharding_changes_nothing(model: Path, data: Path, tmp_path: Path) -> None:
    for zero in (2, 3):
        finish(grpo_spec(model, data, tmp_path / f"{zero}", zero, lora=False, steps=2))
    second, third = curve(tmp_path / "2"), curve(tmp_path / "3")
    for step in (1, 2):
        assert third[step] == pytest.approx(second[step], rel=1e-4, abs=1e-6)


def test_asked_to_stop_it_saves_and_goes_on_from_there(model: Path, data: Path, tmp_path: Path) -> None:
    # No checkpoint of its own before the end: the one that is resumed from is that of the request.
    asked = grpo_spec(model, data, tmp_path, 2, lora=False, steps=40, save_every=40, validate_samples=0)
    process = ranks.start(asked)
    wait_for(lambda: len(read_rows(tmp_path / METRICS)) > 0)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0 and "asked to stop" in said
    assert "asked the training to save" in said
    step = json.loads((tmp_path / STOPPED).read_text())["step"]
    assert 0 < step < 40
    assert (tmp_path / "checkpoints" / f"checkpoint-{step}" / "trainer_state.json").is_file()
    assert not alive(tmp_path)

    again = ranks.start(asked | {"kill_at": step + 1})
    again.communicate(timeout=300)
    wait_for(lambda: not alive(tmp_path))
    assert [row["step"] for row in read_rows(tmp_path / METRICS)][: step + 1] == list(range(1, step + 2))


def test_a_rank_that_dies_ends_the_training_and_is_named(model: Path, data: Path, tmp_path: Path) -> None:
    process = ranks.start(grpo_spec(model, data, tmp_path, 2, lora=False, steps=40, save_every=40))
    wait_for(lambda: len(read_rows(tmp_path / METRICS)) > 0)
    victims = [pid for pid in pids("grpo_worker", tmp_path) if rank_of(pid) == "1"]
    assert len(victims) == 1
    os.kill(victims[0], signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    assert process.returncode != 0
    assert "a rank was killed by SIGKILL" in said
    wait_for(lambda: not alive(tmp_path))


def test_the_first_cause_is_told_not_what_the_others_lost(model: Path, data: Path, tmp_path: Path) -> None:
    wrong = grpo_spec(model, data, tmp_path, 2, lora=False)
    wrong["job"]["prompt"] = "no such template"
    process = ranks.start(wrong)
    said, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "ConfigError" in said and "no such template" in said.splitlines()[-1]


def test_the_cold_start_is_spread_too(tiny_model: Path, data: Path, tmp_path: Path) -> None:
    settings = ColdStartSettings(
        steps=2, batch=4, micro_batch=1, learning_rate=1e-3, save_every=1, validate_samples=2,
        deepspeed={"processes": 2, "zero_stage": 3},
    )  # fmt: skip
    finish(spec(SFT, tiny_model, data, tmp_path / "two", settings))
    metrics = (tmp_path / "two" / METRICS).read_bytes()
    finish(spec(SFT, tiny_model, data, tmp_path / "two", settings))  # killed while the stage was saving
    assert (tmp_path / "two" / METRICS).read_bytes() == metrics
    alone = settings.model_copy(update={"deepspeed": None})
    finish(spec(SFT, tiny_model, data, tmp_path / "one", alone))
    for step, row in curve(tmp_path / "one").items():
        assert curve(tmp_path / "two")[step]["eval_loss"] == pytest.approx(row["eval_loss"], rel=2e-3)

    for name in ("one", "two"):
        save_whole(best_checkpoint(tmp_path / name / "checkpoints"), tiny_model, tmp_path / name / "model")
    before, one, two = (
        load_file(folder / "model.safetensors")
        for folder in (tiny_model, tmp_path / "one" / "model", tmp_path / "two" / "model")
    )
    learnt = sum((one[n] - before[n]).abs().sum().item() for n in before)
    apart = sum((one[n] - two[n]).abs().sum().item() for n in before)
    assert apart + learnt > 0 and apart < 0.05 * learnt


def wait_for(happens: Any, seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def pids(name: str, folder: Path) -> list[int]:
    listed = subprocess.run(["pgrep", "-f", f"{name} {folder}"], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]


def rank_of(pid: int) -> str | None:
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((v[5:].decode() for v in variables if v.startswith(b"RANK=")), None)
