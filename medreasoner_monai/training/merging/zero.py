"""DeepSpeed's ZeRO checkpoints, stages 1 to 3: checked file by file, gathered by DeepSpeed's own tool."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medreasoner_monai.errors import InputError
from medreasoner_monai.training.merging.pickles import allowing, load, refusal
from medreasoner_monai.training.merging.source import ADAPTER_CONFIG, Gathered, Source

_FILE = re.compile(r"(?:(?:bf16_)?zero_pp_rank_(?P<rank>\d+)_)?mp_rank_(?P<part>\d+)_(?P<what>model|optim)_states\.pt")
_STEP = re.compile(r"global_step(\d+)")


def recognises(folder: Path) -> bool:
    """Whether this is a DeepSpeed checkpoint, or the folder of one step of it."""
    return (folder / "latest").is_file() or any(_FILE.fullmatch(p.name) for p in folder.glob("*_states.pt"))


def open_zero(folder: Path, adapter: Path | None = None) -> Source:
    """Open a checkpoint once every rank's files are there and belong together.

    Raises
    ------
    InputError
        If a file is missing, damaged, or of another step, stage or number of ranks.
    """
    at = _step_folder(folder)
    with allowing(_deepspeed_classes()):
        state, ranks, stage = _check(at)
    beside = next((p for p in (folder, at.parent) if (p / ADAPTER_CONFIG).is_file()), None)
    return Source(
        kind="ZeRO",
        folder=at,
        tensors=Gathered(_gather(at, state, stage)),
        ranks=ranks,
        stage=stage,
        step=int(state["global_steps"]),
        half=any(t.dtype == torch.bfloat16 for t in state["module"].values()),
        adapter=adapter or beside,
    )


def _step_folder(folder: Path) -> Path:
    if not (folder / "latest").is_file():
        return folder
    tag = (folder / "latest").read_text(encoding="utf-8").strip()
    if not tag or Path(tag).name != tag or not (folder / tag).is_dir():
        raise InputError(f"{folder / 'latest'} names {tag!r}, but there is no such folder beside it; copy it too")
    return folder / tag


def _deepspeed_classes() -> list[Any]:
    with _silent():
        from deepspeed.runtime.fp16.loss_scaler import DynamicLossScaler, LossScaler
        from deepspeed.runtime.zero.config import ZeroStageEnum
        from deepspeed.utils.tensor_fragment import fragment_address
    return [LossScaler, DynamicLossScaler, ZeroStageEnum, fragment_address]


def _check(at: Path) -> tuple[dict[str, Any], int, int]:
    """The model state of the first rank, the number of ranks, and the stage."""
    model, optim = _files(at)
    if not model:
        raise InputError(f"{at} has no *_model_states.pt; copy the files of the rank that wrote it")
    state = _model_state(next(iter(model.values())))
    ranks, split = int(state["dp_world_size"]), None not in model
    _complete(at, ranks, optim, "optim_states")
    if split:
        _complete(at, ranks, model, "model_states")
    named = _STEP.fullmatch(at.name)
    if named and int(named[1]) != state["global_steps"]:
        raise InputError(f"{at} holds files of step {state['global_steps']}; it was renamed, or files were mixed up")
    if ranks < 1:
        raise InputError(f"{at} says that {ranks} ranks saved it; it is damaged")
    for path in model.values():
        other = _model_state(path)
        for key, what in (("dp_world_size", "{} ranks"), ("global_steps", "step {}")):
            if other[key] != state[key]:
                raise InputError(
                    f"{path} was saved at {what.format(other[key])}, the first rank's at {what.format(state[key])}; "
                    "bring together the files of one saving"
                )
    return state, ranks, _check_partitions(at, optim, ranks, split=split)


def _check_partitions(at: Path, optim: dict[int | None, Path], ranks: int, *, split: bool) -> int:
    """The stage that all optimiser files are of."""
    stages: set[int] = set()
    steps: dict[float, Path] = {}
    for path in optim.values():
        partition = load(path).get("optimizer_state_dict", {})
        stage = int(partition.get("zero_stage", 0))
        found = partition.get("partition_count", ranks)
        count = max(found) if isinstance(found, list) else found
        if count != ranks or (stage == 3) != split:
            raise InputError(
                f"{path} is of ZeRO stage {stage} over {count} ranks, the model's state of "
                f"{'stage 3' if split else 'a lower stage'} over {ranks}; bring together the files of one saving"
            )
        stages.add(stage)
        steps.setdefault(_optimizer_step(partition), path)
    if len(steps) > 1:
        told = " and ".join(f"{path.name} at step {step:g}" for step, path in steps.items())
        raise InputError(f"{at} mixes optimiser states: {told}; bring together the files of one saving")
    return max(stages)


def _files(at: Path) -> tuple[dict[int | None, Path], dict[int | None, Path]]:
    """Model and optimiser files by rank; a model state that all ranks share has the rank None."""
    found: dict[str, dict[int | None, Path]] = {"model": {}, "optim": {}}
    for path in sorted(at.glob("*_states.pt")):
        match = _FILE.fullmatch(path.name)
        if match is None:
            raise InputError(f"{path} is of a kind that is not read here (experts, pipeline stages)")
        if int(match["part"]):
            raise InputError(f"{path} is of tensor-parallel training, which is not read here")
        rank = None if match["rank"] is None else int(match["rank"])
        if rank in found[match["what"]]:
            raise InputError(f"{at} has two files of rank {rank}, {path.name} and {found[match['what']][rank].name}")
        found[match["what"]][rank] = path
    return found["model"], found["optim"]


def _complete(at: Path, ranks: int, files: dict[int | None, Path], what: str) -> None:
    missing = [r for r in range(ranks) if r not in files]
    if missing:
        told = ", ".join(map(str, missing[:8])) + (" …" if len(missing) > 8 else "")
        raise InputError(
            f"{at} was saved by {ranks} ranks, and the *_{what}.pt of rank {told} "
            f"{'is' if len(missing) == 1 else 'are'} missing; copy them from the machines those ranks ran on"
        )
    extra = [path.name for rank, path in files.items() if rank is None or rank >= ranks]
    if extra:
        raise InputError(
            f"{at} was saved by {ranks} ranks, but also has {extra[0]}, of a saving by more; sort them out"
        )


def _model_state(path: Path) -> dict[str, Any]:
    state = load(path)
    for key in ("module", "param_shapes", "dp_world_size", "global_steps"):
        if state.get(key) is None:
            raise InputError(f"{path} is no model state of a ZeRO checkpoint: it lacks {key!r}")
    return state


def _optimizer_step(partition: dict[str, Any]) -> float:
    inner = partition.get("base_optimizer_state") or partition.get("optimizer_state_dict")
    states = inner.get("state", {}) if isinstance(inner, dict) else {}
    steps = [float(s["step"]) for s in states.values() if isinstance(s, dict) and "step" in s]
    return max(steps, default=-1.0)


def _gather(at: Path, state: dict[str, Any], stage: int) -> dict[str, Callable[[], Tensor]]:
    from deepspeed.utils.zero_to_fp32 import get_fp32_state_dict_from_zero_checkpoint as gather

    try:
        with allowing(_deepspeed_classes()), _weights_only(), _silent():
            found = gather(str(at.parent), tag=at.name, lazy_mode=True)
    except pickle.UnpicklingError as error:
        raise refusal(at, error) from None
    except (RuntimeError, ValueError, KeyError, IndexError, AttributeError, OSError) as error:
        raise InputError(f"DeepSpeed cannot put {at} together: {error}") from None
    makers: dict[str, Callable[[], Tensor]] = {name: tensor.contiguous for name, tensor in found.items()}
    if stage == 3:
        return makers
    # Below stage 3 the first rank's file also holds the parameters as the model used them: those that were frozen,
    # which stage 1 keeps nowhere else, and a check on the others.
    for name, tensor in state["module"].items():
        used = tensor.contiguous
        makers[name] = partial(_same, at, name, makers[name], used) if name in makers else used
    return makers


def _same(at: Path, name: str, gathered: Callable[[], Tensor], used: Callable[[], Tensor]) -> Tensor:
    master, live = gathered(), used()
    # What has diverged to NaN is not mixed up; it is refused later, for what it is.
    if master.shape != live.shape or not torch.allclose(master.to(live.dtype), live, rtol=0, atol=0, equal_nan=True):
        raise InputError(
            f"{at}: {name} put together from the ranks is not what the model's state holds; files are mixed"
        )
    return master


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """DeepSpeed's tool asks torch to unpickle anything; this makes torch refuse, whatever the user's setting is."""
    forced = {"TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "0"}
    before = {name: os.environ.get(name) for name in forced}
    os.environ.update(forced)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """DeepSpeed prints where it stands; nobody has asked."""
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield
