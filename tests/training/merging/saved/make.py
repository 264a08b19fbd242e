"""Made the shards beside it, with torch 2.4.1 and 2.6.0 on CPU: ``python make.py FOLDER``. Newer ones cannot open them.

Three parameters, counted through: seven rows that two ranks cannot share evenly, one row that leaves a rank with
nothing, and a vector.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, ShardedStateDictConfig, ShardingStrategy, StateDictType

try:
    from torch.distributed.fsdp import fully_shard
except ImportError:  # before 2.6
    from torch.distributed._composable.fsdp import fully_shard  # type: ignore[no-redef]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.uneven = nn.Parameter(torch.arange(21.0).reshape(7, 3))
        self.single = nn.Parameter(torch.arange(21.0, 26.0).reshape(1, 5))
        self.vector = nn.Parameter(torch.arange(26.0, 30.0))


def work(rank: int, world: int, port: int, out: Path, how: str) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    dist.init_process_group("gloo")
    shape, names = ((2, world // 2), ("ddp", "fsdp")) if "hsdp" in how else ((world,), ("fsdp",))
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
    model: nn.Module = Small().to(torch.bfloat16)
    if how.startswith("fsdp2"):
        fully_shard(model, mesh=mesh)
        state = model.state_dict()
    else:
        strategy = ShardingStrategy.HYBRID_SHARD if "hsdp" in how else ShardingStrategy.FULL_SHARD
        model = FullyShardedDataParallel(
            model, device_mesh=mesh, device_id=torch.device("cpu"), sharding_strategy=strategy, use_orig_params=False
        )
        with FullyShardedDataParallel.state_dict_type(
            model, StateDictType.SHARDED_STATE_DICT, ShardedStateDictConfig(offload_to_cpu=False)
        ):
            state = model.state_dict()
    folder = out / f"torch{torch.__version__[:3].replace('.', '')}-{how}"
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / f"model_world_size_{world}_rank_{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    for number, (how, world) in enumerate({"fsdp1": 2, "fsdp2": 2, "fsdp1-hsdp": 4, "fsdp2-hsdp": 4}.items()):
        torch.multiprocessing.spawn(work, (world, 29650 + number, Path(sys.argv[1]), how), nprocs=world)
