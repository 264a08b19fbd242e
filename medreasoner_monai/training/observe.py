"""What a training process adds to TRL's trainer so that it can be watched; a line in each worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from medreasoner_monai.rewards import RewardSuite
from medreasoner_monai.training.completions import Recorder
from medreasoner_monai.training.image_check import PictureCheck
from medreasoner_monai.training.throughput import Throughput


def observe(trainer: Any, folder: Path, *, rewards: RewardSuite | None = None, every: int = 1) -> None:
    """Look at the pictures when the training begins, measure its speed, and (under GRPO) keep some completions.

    Parameters
    ----------
    trainer:
        TRL's, not yet started.
    folder:
        Where the worker writes for its parent.
    rewards:
        What completions are scored by.
    every:
        Optimiser steps from one record of completions to the next.
    """
    if rewards is not None:
        Recorder(trainer, folder, rewards, every=every)
    Throughput(trainer)
    trainer.add_callback(PictureCheck(folder, trainer.train_dataset, trainer.processing_class))
