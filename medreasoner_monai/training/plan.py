"""The plan of a training: what is launched, what it needs, and everything that is known to be wrong beforehand."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medreasoner_monai.reasoners.starter import config_of
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.settings.training import DeepSpeedSettings
from medreasoner_monai.training import checks, cold_start_stage, estimate, grpo_stage
from medreasoner_monai.training.estimate import Estimate, Shape
from medreasoner_monai.training.launch import command

ANSWER_TOKENS = 512
"""Tokens of a trace with its answer in the cold start, generously."""

VLLM_ROOM = 4.0
"""GB beside its weights that vLLM needs to start: workspaces and a cache for a few sequences."""


@dataclass(frozen=True)
class StagePlan:
    """One training: its command line on this machine, its ranks, and what it is estimated to need."""

    name: str
    command: str
    ranks: int
    zero_stage: int | None
    estimate: Estimate


@dataclass(frozen=True)
class Plan:
    """Stages in order; ``problems`` keep the training from starting, ``notes`` are worth knowing."""

    parameters: int
    stages: Sequence[StagePlan]
    problems: Sequence[str]
    notes: Sequence[str]


def plan(settings: Settings, workspace: Path, *, here: bool) -> Plan:
    """Work out a plan and look for everything that can be known to be wrong.

    Parameters
    ----------
    here:
        Whether the training is to run on this machine, so that its GPUs and packages count; otherwise only the hardware
        that the settings state does.
    """
    model, gpu = settings.model.path, settings.hardware.gpus > 0
    problems = [*checks.data_problems(settings)]
    notes: list[str] = []
    for name, spread in (("cold_start", settings.cold_start.deepspeed), ("grpo", settings.grpo.deepspeed)):
        if spread is not None:
            problems += checks.machine_problems(settings, spread, name)
    (problems if here else notes).extend(checks.here_problems(settings))
    wrong = [] if model is None else [*checks.model_problems(model)]
    problems += wrong
    config = _config(settings, model)
    if config is None:
        return Plan(0, (), problems, notes)
    shape = Shape.of(config)
    if not wrong and model is not None and not problems:
        longest = checks.longest_prompt(settings, model)
        if longest is not None:
            notes.append(f"longest prompt: {longest.tokens} tokens with its picture's ({longest.where})")
            if longest.tokens > settings.grpo.max_prompt:
                problems.append(
                    f"grpo.max_prompt is {settings.grpo.max_prompt}, {longest.where} needs {longest.tokens} tokens; "
                    "raise it, or shrink pictures with model.max_pixels"
                )
    if settings.grpo.max_prompt + settings.grpo.max_completion > shape.context:
        problems.append(
            f"grpo.max_prompt and max_completion together exceed the model's context of {shape.context} tokens"
        )
    stages = _stages(settings, shape, workspace, gpu=gpu)
    for stage in stages:
        problems += _too_much(stage, settings, gpu=gpu)
    needed = max((stage.estimate.disk for stage in stages), default=0.0)
    full = checks.disk_problem(workspace, needed)
    if full is not None:
        (problems if here else notes).append(full)
    return Plan(shape.parameters, stages, problems, notes)


def _config(settings: Settings, model: Path | None) -> dict[str, object] | None:
    if model is None:
        return config_of(settings.model.starter)
    try:
        found: dict[str, object] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found


def _stages(settings: Settings, shape: Shape, workspace: Path, *, gpu: bool) -> list[StagePlan]:
    first, second = settings.cold_start, settings.grpo
    # The starter's pictures and answers are far shorter than what a prompt may have.
    longest = settings.grpo.max_prompt + ANSWER_TOKENS if settings.model.path else 256
    return [
        _stage("cold start", cold_start_stage.WORKER, first.deepspeed, workspace,
               estimate.cold_start(shape, first, longest, settings.hardware, gpu=gpu)),
        _stage("GRPO", grpo_stage.WORKER, second.deepspeed, workspace,
               estimate.grpo(shape, second, settings.hardware, gpu=gpu)),
    ]  # fmt: skip


def _stage(name: str, worker: str, spread: DeepSpeedSettings | None, workspace: Path, needs: Estimate) -> StagePlan:
    job = workspace / "artifacts" / "…" / "job.json"
    line = shlex.join(command(worker, job, spread))
    return StagePlan(name, line, spread.ranks if spread else 1, spread.zero_stage if spread else None, needs)


def _too_much(stage: StagePlan, settings: Settings, *, gpu: bool) -> list[str]:
    hardware, needs = settings.hardware, stage.estimate
    found = []
    if gpu and needs.total > hardware.gpu_memory:
        largest = max(needs.memory, key=lambda part: needs.memory[part])
        found.append(
            f"{stage.name}: about {needs.total:.0f} GB a GPU, of {hardware.gpu_memory:.0f} GB, most of it {largest}; "
            "lower micro_batch, shard more (zero_stage 3), offload, or train adapters (lora)"
        )
    if gpu and "vLLM" in needs.memory and settings.grpo.generation.engine == "vllm-colocate":
        least = needs.weights / settings.grpo.generation.tensor_parallel + VLLM_ROOM
        if needs.memory["vLLM"] < least:
            found.append(
                f"{stage.name}: vLLM is given {needs.memory['vLLM']:.0f} GB a GPU and needs about {least:.0f} GB for "
                "weights and some cache; raise grpo.generation.gpu_memory or tensor_parallel"
            )
    if hardware.memory is not None and needs.host > hardware.memory:
        found.append(
            f"{stage.name}: offloading takes about {needs.host:.0f} GB of a machine's memory, which has "
            f"{hardware.memory:.0f} GB"
        )
    return found
