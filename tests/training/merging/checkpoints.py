"""Makes what the tests merge, by the libraries that make it in real life (run with ``python -m``).

DeepSpeed trains a few steps over two ranks and saves; torch shards the model over two ranks and over two by two. What
the live model held and answered is written down beside each. The ranks are forked from one process, so that the
libraries are imported once.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import deepspeed
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    FullyShardedDataParallel,
    ShardedStateDictConfig,
    ShardingStrategy,
    StateDictType,
    fully_shard,
)
from transformers import Qwen2_5_VLForConditionalGeneration

from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.training.deepspeed import deepspeed_config, prepare
from medreasoner_monai.training.merging.probe import make_probe

STEPS = 2
TRUTH = "truth.safetensors"
LORA = {"r": 4, "lora_alpha": 12, "target_modules": ["q_proj", "v_proj", "up_proj"]}


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    return Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, local_files_only=True, dtype=dtype)


def zero(folder: Path, out: Path, stage: int, *, bf16: bool = False, frozen: bool = False, lora: bool = False) -> None:
    """A short training under DeepSpeed, saved as transformers' trainer saves it."""
    model = load(folder, torch.bfloat16 if bf16 else torch.float32)
    if frozen:
        model.model.visual.requires_grad_(False)
    if lora:
        model = get_peft_model(model, LoraConfig(**LORA))
        if dist.get_rank() == 0:
            model.peft_config["default"].save_pretrained(out)
    config = deepspeed_config(stage, gpu=False) | {
        "train_batch_size": dist.get_world_size(),
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 1.0,
        "bf16": {"enabled": bf16},
    }
    config["optimizer"]["params"] |= {"lr": 1e-2, "betas": [0.9, 0.99], "eps": 1e-8, "weight_decay": 0.0}
    trained = [p for p in model.parameters() if p.requires_grad]
    engine, *_ = deepspeed.initialize(model=model, model_parameters=trained, config=config)
    for step in range(STEPS):
        ids = torch.arange(20, 30)[None] + 10 * step + dist.get_rank()
        loss = engine(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids), labels=ids).loss
        engine.backward(loss)
        engine.step()
    engine.save_checkpoint(str(out), exclude_frozen_parameters=lora)
    probe = make_probe(engine, load_processor(folder))
    parameters = dict(engine.module.named_parameters())
    with deepspeed.zero.GatheredParameters(list(parameters.values()), enabled=stage == 3):
        if dist.get_rank() == 0:
            probe.save(out / f"global_step{STEPS}")
            save_file({name: p.detach().clone() for name, p in parameters.items()}, out / TRUTH)
    dist.barrier()


def fsdp(folder: Path, out: Path, how: str, *, replicas: int = 1) -> None:
    """The model as verl saves it."""
    model, world = load(folder, torch.bfloat16), dist.get_world_size()
    shape, names = ((world,), ("fsdp",)) if replicas == 1 else ((replicas, world // replicas), ("ddp", "fsdp"))
    mesh = init_device_mesh("cpu", shape, mesh_dim_names=names)
    if how == "fsdp2":
        for layer in model.model.language_model.layers:
            fully_shard(layer, mesh=mesh)
        fully_shard(model, mesh=mesh)
        state = model.state_dict()
    else:
        strategy = ShardingStrategy.HYBRID_SHARD if replicas > 1 else ShardingStrategy.FULL_SHARD
        model = FullyShardedDataParallel(
            model, device_mesh=mesh, device_id=torch.device("cpu"), sharding_strategy=strategy, use_orig_params=False
        )
        kind, config = StateDictType.SHARDED_STATE_DICT, ShardedStateDictConfig(offload_to_cpu=False)
        with FullyShardedDataParallel.state_dict_type(model, kind, config):
            state = model.state_dict()
    out.mkdir(parents=True, exist_ok=True)
    torch.save(state, out / f"model_world_size_{world}_rank_{dist.get_rank()}.pt")
    dist.barrier()


def two(tied: Path, untied: Path, out: Path) -> None:
    prepare(gpu=False)
    zero(tied, out / "zero1-frozen", 1, bf16=True, frozen=True)
    zero(tied, out / "zero2", 2)
    zero(untied, out / "zero3", 3)
    zero(tied, out / "zero2-lora", 2, lora=True)
    zero(tied, out / "zero3-lora", 3, lora=True)
    fsdp(tied, out / "fsdp2", "fsdp2")
    fsdp(untied, out / "fsdp1", "fsdp1")


def four(tied: Path, untied: Path, out: Path) -> None:
    dist.init_process_group("gloo")
    fsdp(tied, out / "fsdp2-uneven", "fsdp2")
    fsdp(untied, out / "fsdp2-hsdp", "fsdp2", replicas=2)
    fsdp(tied, out / "fsdp1-hsdp", "fsdp1", replicas=2)


def _rank(rank: int, world: int, port: int, work: Callable[..., None], *arguments: Path) -> None:
    torch.set_num_threads(1)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(world)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    work(*arguments)
    dist.destroy_process_group()


def run(world: int, work: Callable[..., None], *arguments: Path) -> None:
    """Do ``work`` on so many ranks at once."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    context = get_context("fork")
    ranks = [context.Process(target=_rank, args=(r, world, port, work, *arguments)) for r in range(world)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
        if rank.exitcode:
            sys.exit(rank.exitcode)


if __name__ == "__main__":
    folders = [Path(a) for a in sys.argv[1:]]
    run(2, two, *folders)
    run(4, four, *folders)
