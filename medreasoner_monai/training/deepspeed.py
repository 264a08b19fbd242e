"""DeepSpeed settings for a training."""

from __future__ import annotations

import os
from typing import Any


def deepspeed_config(zero_stage: int, *, gpu: bool, offload: str = "none") -> dict[str, Any]:
    """The DeepSpeed config for a ZeRO stage; ``auto`` values are filled in by transformers' trainer.

    Parameters
    ----------
    offload:
        ``none``, ``optimizer`` (its states in the machine's memory) or ``all`` (the weights too, stage 3).

    On CPU the optimiser is torch's own: DeepSpeed's CPU Adam would have to be compiled and is made for offloading.
    """
    zero: dict[str, Any] = {
        "stage": zero_stage,
        "overlap_comm": gpu,
        "contiguous_gradients": True,
        "stage3_gather_16bit_weights_on_model_save": True,
    }
    if offload != "none":
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
    if offload == "all":
        zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return {
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": gpu},
        "zero_optimization": zero,
        "optimizer": {
            "type": "AdamW",
            "params": {
                "lr": "auto",
                "betas": "auto",
                "eps": "auto",
                "weight_decay": "auto",
                "torch_adam": not gpu,
            },
        },
        "steps_per_print": 10**9,
        "wall_clock_breakdown": False,
    }


def prepare(*, gpu: bool) -> None:
    """Choose accelerator and backend before the trainer is built; ZeRO-3 needs the process group by then."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if gpu else "cpu")
    import deepspeed

    if not gpu:
        # The shared-memory collectives are compiled at first use, half a minute and a C++ compiler, for ranks on one
        # machine to save microseconds a step; gloo does the same.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed("nccl" if gpu else "gloo", verbose=False)
