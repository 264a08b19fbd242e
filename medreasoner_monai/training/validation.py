"""Validation while training: on the validation split, at each checkpoint, without a trace in what is trained."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from transformers import TrainerCallback

from medreasoner_monai.data.schema import read_rows


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Random numbers from ``seed`` within; outside they go on as if nothing had been drawn."""
    import torch

    python, numpy_state = random.getstate(), np.random.get_state()
    here = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=here):
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)


@contextmanager
def greedy(trainer: Any) -> Iterator[None]:
    """Answers without chance within, as the finished model gives them; nothing for a trainer that writes none."""
    settings: list[tuple[Any, str, Any]] = [
        (getattr(trainer, "generation_config", None), "do_sample", False),
        (getattr(trainer, "vllm_generation", None), "temperature", 0.0),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in settings if where is not None]
    for where, name, value in settings:
        if where is not None:
            setattr(where, name, value)
    try:
        yield
    finally:
        for where, name, value in before:
            setattr(where, name, value)


class Undisturbed:
    """A trainer whose validation draws the same each time and leaves the training's random numbers alone."""

    args: Any

    def evaluate(self, *arguments: Any, **options: Any) -> Any:
        """See :meth:`transformers.Trainer.evaluate`."""
        with own_randomness(self.args.seed + self.args.process_index), greedy(self):
            return super().evaluate(*arguments, **options)  # type: ignore[misc]


class ValidateLast(TrainerCallback):
    """The last step is validated too, wherever it falls: it may be the best."""

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for it."""
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True


def has_rows(split: Path) -> bool:
    """Whether a split has anything to validate on."""
    return split.is_file() and next(iter(read_rows(split)), None) is not None
