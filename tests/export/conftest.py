"""A small data set to export, and one whose pictures are long and thin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.task.keypoints import key_points, mask_box
from tests.samples import sample

QWEN_7B = Path(__file__).parents[3] / "shared" / "data" / "qwen25vl_tokenizer"
SIZES = ((28, 700), (700, 28), (300, 211), (40, 60), (30, 700), (17, 500))
"""Rows and columns; of a model that sees no more than 112 x 112 pixels the processor resizes the thin ones twice."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A folder as curate leaves it: eight samples to train on, three to validate on."""
    folder = tmp_path / "data"
    folder.mkdir()
    write_split(folder / "train.parquet", [sample(n) for n in range(8)])
    write_split(folder / "val.parquet", [sample(n) for n in range(8, 11)])
    return folder


@pytest.fixture
def settings() -> Settings:
    """Every setting that is mapped differs from its default."""
    return Settings.model_validate(
        {
            "name": "a try",
            "cold_start": {
                "steps": 7,
                "batch": 6,
                "learning_rate": 3e-5,
                "warmup_steps": 3,
                "final_rate": 0.1,
                "weight_decay": 0.2,
                "freeze_vision": False,
                "save_every": 4,
                "seed": 5,
            },
            "grpo": {
                "steps": 9,
                "prompts": 4,
                "rollouts": 6,
                "updates": 2,
                "micro_batch": 3,
                "learning_rate": 2e-6,
                "warmup_steps": 3,
                "temperature": 0.9,
                "kl": 0.02,
                "max_completion": 77,
                "freeze_vision": False,
                "save_every": 4,
                "seed": 5,
                "rewards": {"suite": "hard", "point_overlap": "released", "weights": {"bbox_iou": 2.0}},
                "deepspeed": {"processes": 2},
            },
        }
    )


def odd(size: tuple[int, int]) -> Sample:
    """A sample of so many rows and columns."""
    mask = np.zeros(size, dtype=bool)
    mask[8:15, 9:24] = True
    image = np.random.default_rng(sum(size)).integers(0, 255, size, dtype=np.uint8)
    name = f"{size[0]}-{size[1]}"
    return sample(0, id=name, group=name, image=image, mask=mask, box=mask_box(mask), points=key_points(mask))


@pytest.fixture
def odd_data(tmp_path: Path) -> Path:
    """A training file of pictures in odd sizes."""
    write_split(tmp_path / "odd.parquet", [odd(size) for size in SIZES])
    return tmp_path / "odd.parquet"


@pytest.fixture
def qwen() -> Path:
    """The real processor of Qwen2.5-VL-7B."""
    if not QWEN_7B.is_dir():
        pytest.skip("Qwen2.5-VL-7B's processor is not beside the repository (../shared/data/qwen25vl_tokenizer)")
    return QWEN_7B
