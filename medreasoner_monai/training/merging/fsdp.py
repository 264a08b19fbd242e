"""FSDP shards as verl saves them: one file a rank, each a state dict of sharded DTensors.

The files are read without torch's own DTensor and device mesh. What these keep in a pickle changes with torch (2.13
cannot open what 2.6 wrote), and they want a process group; all that is needed of them is the local piece, the whole
shape and the placements.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from medreasoner_monai.errors import InputError
from medreasoner_monai.training.merging.pickles import allowing, load
from medreasoner_monai.training.merging.source import ADAPTER_CONFIG, Gathered, Source

_FILE = re.compile(r"model_world_size_(\d+)_rank_(\d+)\.pt")
_STEP = re.compile(r"global_step_?(\d+)")


class _Piece(Tensor):
    """In place of a DTensor: the whole's shape, with ``_local_tensor`` and ``_spec`` as attributes."""

    _local_tensor: Tensor
    _spec: _Detail

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own is no method
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        raise TypeError("a rank's piece of a DTensor is only looked at; nothing is computed with it")


class _Record:
    """In place of what describes a DTensor: has the attributes that were saved, and does nothing."""

    def __new__(cls, *values: Any) -> _Record:
        return super().__new__(cls)


class _Shard(_Record):
    """Cut along a dimension."""

    dim: int


class _Replicate(_Record):
    """The same on every rank."""


class _Other(_Record):
    """Partial sums, strided shards: placements that no saved parameter has."""


class _Detail(_Record):
    """Specifications and meshes."""

    placements: tuple[_Record, ...]


# Where the classes stood in the versions of torch since FSDP saves DTensors (2.3).
_TENSOR = ("torch.distributed.tensor", "torch.distributed._tensor.api", "torch.distributed.tensor._api")
_PLACES = ("torch.distributed.tensor.placement_types", "torch.distributed._tensor.placement_types")
_SPECS = ("torch.distributed.tensor._dtensor_spec", "torch.distributed._tensor.placement_types")
_ALLOWED = [
    *((_Piece, f"{m}.DTensor") for m in _TENSOR),
    *((_Shard, f"{m}.Shard") for m in _PLACES),
    *((_Replicate, f"{m}.Replicate") for m in _PLACES),
    *((_Other, f"{m}.{name}") for m in _PLACES for name in ("Partial", "_Partial", "_StridedShard", "_MaskPartial")),
    *((_Detail, f"{m}.{name}") for m in _SPECS for name in ("DTensorSpec", "TensorMeta", "ShardOrderEntry")),
    (_Detail, "torch.distributed.device_mesh.DeviceMesh"),
    (_Detail, "torch.distributed._mesh_layout._MeshLayout"),
    (_Detail, "torch.distributed._mesh_layout._FlatLayout"),
]


def recognises(folder: Path) -> bool:
    """Whether this folder holds such shards."""
    return any(_FILE.fullmatch(p.name) for p in folder.glob("model_world_size_*.pt"))


def open_fsdp(folder: Path, adapter: Path | None = None) -> Source:
    """Open the shards once all ranks' files are there and hold the same parameters.

    Raises
    ------
    InputError
        If a rank's file is missing, damaged or of another number of ranks, holds code, or does not fit the others.
    """
    files = _files(folder)
    with allowing(_ALLOWED):
        states = [load(path) for path in files]
    for path, state in zip(files, states, strict=True):
        odd = set(state) ^ set(states[0])
        if odd:
            raise InputError(
                f"{path} and {files[0].name} hold different parameters, such as {min(odd)}; not one saving"
            )
        other = next((name for name, value in state.items() if not isinstance(value, Tensor)), None)
        if other is not None:
            raise InputError(f"{path}: {other} is a {type(state[other]).__name__}, expected tensors by name")
    config = folder / "huggingface"
    named = [_STEP.fullmatch(p.name) for p in (folder, *folder.resolve().parents[:2])]
    return Source(
        kind="FSDP",
        folder=folder,
        tensors=Gathered({name: partial(_whole, files, states, name) for name in states[0]}),
        ranks=len(files),
        step=next((int(n[1]) for n in named if n), None),
        half=all(t.dtype == torch.bfloat16 for t in states[0].values() if t.is_floating_point()),
        config=config if (config / "config.json").is_file() else None,
        adapter=adapter or next((p for p in (folder, folder / "lora_adapter") if (p / ADAPTER_CONFIG).is_file()), None),
    )


def _files(folder: Path) -> list[Path]:
    found: dict[int, dict[int, Path]] = {}
    for path in folder.iterdir():
        match = _FILE.fullmatch(path.name)
        if match:
            found.setdefault(int(match[1]), {})[int(match[2])] = path
    if len(found) > 1:
        told = " and ".join(f"{len(files)} of {world}" for world, files in sorted(found.items()))
        raise InputError(f"{folder} mixes shards of different numbers of ranks ({told}); keep those of one saving")
    ((world, files),) = found.items()
    missing = [r for r in range(world) if r not in files]
    if missing:
        told = ", ".join(f"model_world_size_{world}_rank_{r}.pt" for r in missing[:4])
        told += f" and {len(missing) - 4} more" if len(missing) > 4 else ""
        raise InputError(f"{folder} was saved by {world} ranks and lacks {told}; copy them from where those ranks ran")
    return [files[r] for r in range(world)]


def _whole(files: Sequence[Path], states: Sequence[dict[str, Tensor]], name: str) -> Tensor:
    """One parameter, put together from its pieces along the dimension it was sharded by."""
    pieces = [state[name] for state in states]
    first = pieces[0]
    if not isinstance(first, _Piece):
        same = all(not isinstance(p, _Piece) and p.shape == first.shape and torch.equal(p, first) for p in pieces[1:])
        if not same:
            raise InputError(f"{files[0].parent}: {name} differs from rank to rank and does not say how it is sharded")
        return first
    *outer, last = first._spec.placements
    if not isinstance(last, _Shard | _Replicate) or not all(isinstance(p, _Replicate) for p in outer):
        raise InputError(f"{files[0].parent}: {name} is sharded in more than one way, expected FSDP or replicas of it")
    for path, piece in zip(files, pieces, strict=True):
        if not isinstance(piece, _Piece) or piece.shape != first.shape or _kinds(piece) != _kinds(first):
            raise InputError(f"{path}: {name} is not sharded as on the first rank; the files are not of one saving")
    if isinstance(last, _Replicate):
        return torch.cat([first._local_tensor])
    local = [p._local_tensor for p in pieces if isinstance(p, _Piece)]
    dim, length = last.dim, first.shape[last.dim]
    used = replica([t.shape[dim] for t in local], length)
    if used is None:
        raise InputError(
            f"{files[0].parent}: the pieces of {name} have {[t.shape[dim] for t in local]} rows, which do not make up "
            f"the {length} of the whole; the files are not of one saving"
        )
    return torch.cat(local[:used], dim=dim)


def _kinds(piece: _Piece) -> list[tuple[type, int | None]]:
    return [(type(p), getattr(p, "dim", None)) for p in piece._spec.placements]


def replica(rows: Sequence[int], length: int) -> int | None:
    """How many ranks, from the first on, hold one copy of a parameter of so many rows; None if it does not come out.

    Ranks are counted row by row over a mesh whose last dimension shards, so copies follow each other.

    >>> replica([3, 2], 5), replica([3, 2, 3, 2], 5), replica([1, 0, 0, 0], 1), replica([3, 3], 5)
    (2, 2, 4, None)
    """
    for size in range(1, len(rows) + 1):
        if (
            len(rows) % size == 0
            and sum(rows[:size]) == length
            and list(rows) == list(rows[:size]) * (len(rows) // size)
        ):
            return size
    return None
