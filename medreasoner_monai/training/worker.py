"""What the training processes share: the job file, determinism, reporting, checkpoints, and errors of every rank."""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from transformers import TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.training import attempt
from medreasoner_monai.training.failures import ERRORS
from medreasoner_monai.training.launch import METRICS, RANK_LOG
from medreasoner_monai.training.merging.source import PROBE
from medreasoner_monai.training.rows import finite_values

Job = dict[str, Any]


def main(train: Callable[[Job], None]) -> None:
    """Run a training as its job file says, for the attempt that is named behind it.

    An error is noted by rank before it ends the process.
    """
    import torch

    job: Job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    rank, ranks = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    folder = Path(job["folder"])
    if ranks > 1:
        _own_log(folder / RANK_LOG.format(rank))
    die_with_parent()
    if len(sys.argv) > 2:
        attempt.join(folder, sys.argv[2], rank)
    # Results depend on how many threads compute.
    if job["threads"]:
        torch.set_num_threads(max(1, job["threads"] // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
    try:
        train(job)
    except Exception as error:
        attempt.check_current()
        note = {"rank": rank, "time": time.time(), "type": type(error).__name__, "message": str(error)}
        (folder / ERRORS).mkdir(exist_ok=True)
        write_json(folder / ERRORS / f"rank-{rank}.json", note)
        traceback.print_exc()
        # Collectives that other ranks never answer must not keep this one from ending.
        _leave(1)
    if ranks > 1:
        from torch import distributed

        distributed.barrier()
        # Taking the interpreter down beside gloo's threads ends in an abort now and then.
        _leave(0)
    attempt.end()


def _leave(code: int) -> NoReturn:
    """End the process here and now."""
    attempt.end()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _own_log(path: Path) -> None:
    """Send what this rank prints, also from native code, to a file of its own."""
    with path.open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(log.fileno(), stream.fileno())


def last_checkpoint(folder: Path, *, probed: bool = False) -> str | None:
    """The newest whole checkpoint in a trainer's folder; halves that a kill left behind are passed over.

    A checkpoint counts when its ``trainer_state.json`` is there: the trainer writes it last. With ``probed`` it must
    also hold the probe, which a callback writes after that.
    """
    if not folder.is_dir():
        return None
    attempt.check_current()
    for path in folder.glob("checkpoint-*"):
        if not whole(path, probed=probed):
            # Several ranks look at once; the first to see it moves it.
            try:
                path.rename(path.with_name(f"broken-{path.name}-{os.getpid()}"))
            except FileNotFoundError:
                continue
    return get_last_checkpoint(str(folder))


def whole(checkpoint: Path, *, probed: bool = False) -> bool:
    """Whether a checkpoint was written to its end, with ``probed`` including the live model's probe."""
    step = _step(checkpoint)
    return step is not None and (not probed or (checkpoint / f"global_step{step}" / PROBE).is_file())


def reached(checkpoint: str | None, steps: int) -> bool:
    """Whether a checkpoint is that of the last of ``steps`` steps, behind which nothing is left to train.

    To be asked before a trainer is resumed: transformers looks for the end only after a step, and would take one more.
    """
    step = None if checkpoint is None else _step(Path(checkpoint))
    return step is not None and step >= steps


def _step(checkpoint: Path) -> int | None:
    try:
        step: int = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))["global_step"]
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return step


class Report(TrainerCallback):
    """Writes what the trainer logs as JSON lines; after a resume, lines behind the checkpoint are dropped first.

    Comes first among callbacks: it ends a rank whose attempt is over before anything of its step is written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / METRICS

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """On every rank, before the step is logged and perhaps saved."""
        attempt.check_current()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Keep what belongs to steps that are not repeated."""
        attempt.check_current()
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
        attempt.check_current()
        now = round(time.time(), 3)
        row = {"step": state.global_step, "total": state.max_steps, "time": now, **finite_values(logs)}
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


def load_model(folder: str, *, gpu: bool, freeze_vision: bool, attention: str = "auto", half: bool = True) -> Any:
    """The model to train, with its vision tower set aside if wished; says which attention it computes.

    ``half`` loads bfloat16 on a GPU: right where the optimiser keeps float32 copies (DeepSpeed) or moves other weights
    (adapters), since small steps vanish in bfloat16.
    """
    import torch
    from transformers import Qwen2_5_VLForConditionalGeneration

    chosen = choose_attention(attention, gpu=gpu)
    print(f"attention: {chosen}", flush=True)  # noqa: T201 - into the training's log
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder,
        local_files_only=True,
        dtype=torch.bfloat16 if gpu and half else torch.float32,
        attn_implementation=chosen,
    )
    if freeze_vision:
        model.model.visual.requires_grad_(False)
    return model


def choose_attention(wanted: str, *, gpu: bool) -> str:
    """``auto`` is flash attention where it is installed and there is a GPU, else torch's own."""
    from transformers.utils import is_flash_attn_2_available

    if wanted != "auto":
        return wanted
    return "flash_attention_2" if gpu and is_flash_attn_2_available() else "sdpa"


def bare(model: Any) -> Any:
    """A model without the adapters around it."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def vision_tower(model: Any) -> Any:
    """A model's vision tower, adapters around it or not."""
    return bare(model).model.visual
