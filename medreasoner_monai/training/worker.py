"""What the training processes share: the job file, determinism, reporting and checkpoints."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from medreasoner_monai.processes import die_with_parent
from medreasoner_monai.training.launch import METRICS
from medreasoner_monai.training.rows import finite_values


def start(argv: list[str]) -> dict[str, Any]:
    """Tie this process to its parent's life, give it a fixed number of threads (results depend on it), read its job."""
    import torch

    die_with_parent()
    job: dict[str, Any] = json.loads(Path(argv[1]).read_text(encoding="utf-8"))
    if job["threads"]:
        torch.set_num_threads(job["threads"])
    return job


def last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint in a trainer's folder; halves that a kill left behind are passed over.

    A checkpoint counts when its ``trainer_state.json`` is there: the trainer writes it last.
    """
    if not folder.is_dir():
        return None
    for path in folder.glob("checkpoint-*"):
        if not _whole(path):
            path.rename(path.with_name(f"broken-{path.name}-{os.getpid()}"))
    return get_last_checkpoint(str(folder))


def _whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return True


class Report(TrainerCallback):
    """Writes what the trainer logs as JSON lines; after a resume, lines behind the checkpoint are dropped first."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep what belongs to steps that are not repeated."""
        if not state.is_world_process_zero:
            return
        kept = [r for r in _rows(self.path) if r["step"] <= state.global_step]
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text("".join(json.dumps(r) + "\n" for r in kept), encoding="utf-8")
        temporary.replace(self.path)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """One line a logged step."""
        if not state.is_world_process_zero or not logs or "train_runtime" in logs:
            return
        row = {"step": state.global_step, "total": state.max_steps, **finite_values(logs)}
        with self.path.open("a", encoding="utf-8") as f:
            f.write(json.dumps(row) + "\n")


def _rows(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    out = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            out.append(json.loads(line))
        except ValueError:  # the last line of a killed process
            continue
    return out


def single_process_group() -> None:
    """Give a process that was started alone the rendezvous variables DeepSpeed expects from a launcher."""
    import socket

    if "RANK" in os.environ:
        return
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    os.environ.update(
        RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )


def load_model(folder: str, *, gpu: bool, freeze_vision: bool) -> Any:
    """The model to train, with its vision tower set aside if wished."""
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, local_files_only=True, dtype=torch.bfloat16 if gpu else torch.float32
    )
    if freeze_vision:
        model.model.visual.requires_grad_(False)
    return model
