"""End a training on request with nothing lost: a checkpoint is written first, by all ranks at the same step."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from medreasoner_monai.training.launch import STOP, STOPPED


class Stop(TrainerCallback):
    """Saves and ends when asked by SIGTERM or by the file ``stop``, between rounds of ``every`` steps."""

    def __init__(self, folder: Path, *, every: int = 1) -> None:
        self.folder = folder
        self.every = every
        self.asked = False
        # Ctrl-C reaches every process of a terminal; the parent alone decides what it means.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, *_: Any) -> None:
        self.asked = True

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask all ranks whether one was told to end."""
        if state.global_step % self.every or state.global_step >= state.max_steps:
            return
        if self._any(self.asked or (self.folder / STOP).exists(), args.device):
            control.should_save = control.should_training_stop = True
            control.should_evaluate = False
            if state.is_world_process_zero:
                (self.folder / STOPPED).write_text(json.dumps({"step": state.global_step}), encoding="utf-8")

    @staticmethod
    def _any(here: bool, device: Any) -> bool:
        import torch
        import torch.distributed as dist

        if not dist.is_initialized() or dist.get_world_size() == 1:
            return here
        flag = torch.tensor(int(here), device=device)
        dist.all_reduce(flag, op=dist.ReduceOp.MAX)
        return bool(flag.item())
