"""Models and checkpoints that the tests of merging share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2_5_VLForConditionalGeneration

from medreasoner_monai.reasoners.folder import load_processor

ROOT = Path(__file__).resolve().parents[3]


def load(folder: Path, dtype: Any = torch.float32) -> Any:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=dtype)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So small a model is slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def untied_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with an output layer of its own."""
    folder = tmp_path_factory.mktemp("untied") / "model"
    model = load(tiny_model)
    model.config.tie_word_embeddings = model.config.text_config.tie_word_embeddings = False
    torch.manual_seed(1)
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight) / 20)
    model.save_pretrained(folder)
    load_processor(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoints(tiny_model: Path, untied_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What :mod:`tests.training.merging.checkpoints` makes, a folder each."""
    out = tmp_path_factory.mktemp("checkpoints")
    done = subprocess.run(
        [sys.executable, "-m", "tests.training.merging.checkpoints", str(tiny_model), str(untied_model), str(out)],
        cwd=ROOT,
        env={**os.environ, "DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


@pytest.fixture
def saved_by_one_rank(tmp_path: Path) -> Callable[..., Path]:
    """Parameters as a single rank saves them, which shards nothing."""

    def save(tensors: dict[str, torch.Tensor]) -> Path:
        folder = tmp_path / "global_step_7" / "actor"
        folder.mkdir(parents=True)
        torch.save(tensors, folder / "model_world_size_1_rank_0.pt")
        return folder

    return save
