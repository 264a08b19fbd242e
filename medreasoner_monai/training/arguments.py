"""From our settings to TRL's arguments. No trainer is built here, so that `--dry-run` and tests can look at them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from medreasoner_monai.rewards import RewardSuite
from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings, LoraSettings
from medreasoner_monai.training.deepspeed import deepspeed_config

LOGGED = 5
"""Steps of the cold start between rows of its metrics, at most."""
KEEP = 2
"""Checkpoints kept: the last, and the best before it."""


def sft_arguments(settings: ColdStartSettings, folder: Path, *, gpu: bool, validated: bool) -> dict[str, Any]:
    """What TRL's SFTConfig gets; ``folder`` is the stage's own, ``validated`` whether there is a validation split."""
    spread = settings.deepspeed
    own = settings.batch // (spread.ranks if spread else 1)
    at_once = settings.micro_batch or own
    return dict(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings.steps,
        per_device_train_batch_size=at_once,
        per_device_eval_batch_size=at_once,
        gradient_accumulation_steps=own // at_once,
        learning_rate=settings.learning_rate,
        warmup_steps=settings.warmup_steps,
        weight_decay=settings.weight_decay,
        adam_beta2=0.99,
        **schedule(settings.schedule, settings.final_rate),
        completion_only_loss=True,
        max_length=None,
        logging_steps=math.gcd(LOGGED, settings.save_every),  # no average spans a checkpoint
        save_steps=settings.save_every,
        **_validation(settings.save_every, "eval_loss", greater=False) if validated else {},
        **_common(settings, spread, gpu=gpu),
        remove_unused_columns=False,  # the rows are made when they are used
    )


def grpo_arguments(
    settings: GrpoSettings, chosen: RewardSuite, folder: Path, *, gpu: bool, validated: bool
) -> dict[str, Any]:
    """What TRL's GRPOConfig gets.

    A round is ``prompts`` x ``rollouts`` completions over all ranks, used up in ``updates`` optimiser steps; TRL counts
    the latter. Checkpoints fall between rounds, so that nothing generated is lost with one.
    """
    ranks, updates, loss = settings.deepspeed.ranks, settings.updates, settings.loss
    together = settings.prompts * settings.rollouts // (settings.micro_batch * ranks)
    return dict(
        output_dir=str(folder / "checkpoints"),
        max_steps=settings.steps * updates,
        per_device_train_batch_size=settings.micro_batch,
        per_device_eval_batch_size=settings.micro_batch,
        gradient_accumulation_steps=together // updates,
        steps_per_generation=together,
        num_generations=settings.rollouts,
        num_generations_eval=1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup",
        warmup_steps=settings.warmup_steps,
        temperature=settings.temperature,
        beta=settings.kl,
        use_bias_correction_kl=False,  # the paper's low-variance estimate as it is
        loss_type=loss.kind,
        importance_sampling_level=loss.importance,
        epsilon=loss.clip,
        epsilon_high=loss.clip_high,
        scale_rewards=loss.advantage_scale,
        mask_truncated_completions=loss.mask_truncated,
        entropy_coef=loss.entropy,
        max_completion_length=settings.max_completion,
        reward_weights=[chosen.weight(name) for name in chosen.terms],
        logging_steps=updates,
        save_steps=settings.save_every * updates,
        **_validation(settings.save_every * updates, "eval_reward", greater=True) if validated else {},
        **_common(settings, settings.deepspeed, gpu=gpu),
        **_rollouts(settings),
    )


def _common(settings: ColdStartSettings | GrpoSettings, spread: Any, *, gpu: bool) -> dict[str, Any]:
    sharding = {}
    if spread is not None:
        sharding["deepspeed"] = deepspeed_config(spread.zero_stage, gpu=gpu, offload=spread.offload)
    return {
        **sharding,
        "gradient_checkpointing": gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing,
        "bf16": gpu,
        "use_cpu": not gpu,
        "save_total_limit": KEEP,
        "seed": settings.seed,
        "data_seed": settings.seed,
        "report_to": "none",
        "disable_tqdm": True,
    }


def _validation(steps: int, measure: str, *, greater: bool) -> dict[str, Any]:
    return {
        "eval_strategy": "steps",
        "eval_steps": steps,
        "metric_for_best_model": measure,
        "greater_is_better": greater,
    }


def _rollouts(settings: GrpoSettings) -> dict[str, Any]:
    chosen = settings.generation
    if chosen.engine == "transformers":
        return {}
    longest = settings.max_prompt + settings.max_completion
    if chosen.engine == "vllm-server":
        return {"use_vllm": True, "vllm_mode": "server", "vllm_server_base_url": _address(chosen.server)}
    return {
        "use_vllm": True,
        "vllm_mode": "colocate",
        "vllm_gpu_memory_utilization": chosen.gpu_memory,
        "vllm_tensor_parallel_size": chosen.tensor_parallel,
        "vllm_enable_sleep_mode": chosen.sleep,
        "vllm_max_model_length": longest,
    }


def _address(text: str) -> str:
    parts = urlsplit(text)
    return f"{parts.scheme or 'http'}://{parts.netloc or parts.path}"


def schedule(name: str, final_rate: float) -> dict[str, Any]:
    """Transformers' arguments for a schedule."""
    if name == "cosine" and final_rate:
        return {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr_rate": final_rate}}
    return {"lr_scheduler_type": name}


def lora_config(settings: LoraSettings) -> Any:
    """PEFT's config: adapters in the language model alone; the vision tower's layers have some names in common."""
    from peft import LoraConfig

    return LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        exclude_modules=r".*visual.*",
        task_type="CAUSAL_LM",
    )
