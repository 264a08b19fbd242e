"""The settings of training: the model, the cold start, GRPO, and how both are spread over ranks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from medreasoner_monai.settings.starter import StarterSettings

OBSERVES: dict[str, JsonValue] = {"decides": False}
"""Marks a field that does not decide a result (an address, a memory limit): it is in no cache key."""


class Section(BaseModel):
    """A part of the settings: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def deciding(self) -> dict[str, Any]:
        """The settings that decide a result, JSON-able, for a cache key: all but those marked :data:`OBSERVES`."""
        whole = self.model_dump(mode="json")
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("decides") is False:
                continue
            value = getattr(self, name)
            found[name] = value.deciding() if isinstance(value, Section) else whole[name]
        return found


class HardwareSettings(Section):
    """What a config is made for. ``medreasoner train --dry-run`` holds the plan against it."""

    nodes: int = Field(1, ge=1, description="machines")
    gpus: int = Field(0, ge=0, description="GPUs a machine; 0 trains on the CPU")
    gpu_memory: float = Field(80, gt=0, description="GB a GPU")
    gpu_tflops: float = Field(989, gt=0, description="dense bfloat16 peak of a GPU; 989 H100 and H200, 312 A100")
    memory: float | None = Field(None, gt=0, description="GB of a machine's own memory; looked up when absent")


class AugmentSettings(Section):
    """Other views of each training picture, drawn anew each time it is used; never mirrored (docs/training.md)."""

    views: int = Field(8, ge=1, description="different views per picture")
    zoom: float = Field(1.25, ge=1, description="largest enlargement; as much smaller, too")
    shift: float = Field(0.12, ge=0, lt=1, description="share of the picture's sides")
    turn: float = Field(8, ge=0, le=45, description="degrees")
    contrast: float = Field(0.25, ge=0, description="of contrast and gamma: the logarithm's range")
    brightness: float = Field(0.1, ge=0, le=1, description="share of white")
    noise: float = Field(0.03, ge=0, le=1, description="largest standard deviation, as a share of white")


class VisionSettings(Section):
    """How a starter's vision tower learns to see before it learns to speak; a ready-made folder needs none of it."""

    steps: int = Field(400, ge=0)
    batch: int = Field(64, ge=1)
    learning_rate: float = Field(3e-3, gt=0)
    cells: int = Field(4, ge=1, description="targets a side within one image token")
    save_every: int = Field(100, ge=1)
    seed: int = 0
    augment: AugmentSettings | None = Field(None, description="views of the training pictures; as they are when absent")


class ModelSettings(Section):
    """The reasoner to train: a Qwen2.5-VL class folder, or a starter built from nothing."""

    path: Path | None = Field(None, description="a Hugging Face folder; when absent the starter is built")
    max_pixels: int | None = Field(
        None, ge=56 * 56, description="square pixels; larger pictures are shrunk to it (840 x 840: 705600)"
    )
    starter: StarterSettings = StarterSettings()
    vision: VisionSettings = VisionSettings()
    prompt: str = "brief"
    attention: Literal["auto", "flash_attention_2", "sdpa", "eager"] = Field(
        "auto", description="auto: flash attention where it is installed and there is a GPU, else torch's own"
    )


class LoraSettings(Section):
    """Low-rank adapters beside frozen weights, in the language model's linear layers (PEFT)."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(128, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class DeepSpeedSettings(Section):
    """How a training is spread and sharded."""

    processes: int = Field(1, ge=1, description="ranks a machine: its GPUs")
    zero_stage: Literal[0, 1, 2, 3] = 2
    offload: Literal["none", "optimizer", "all"] = Field(
        "none", description="keep the optimiser, or (stage 3) the weights too, in the machine's own memory"
    )
    hostfile: Path | None = Field(
        None, description="machines as DeepSpeed lists them: `name slots=8` a line", json_schema_extra=OBSERVES
    )
    nodes: int = Field(1, ge=1, description="machines in the hostfile")
    port: int = Field(
        29500, ge=1024, le=65535, description="where ranks of several machines meet", json_schema_extra=OBSERVES
    )

    @property
    def ranks(self) -> int:
        """Over all machines."""
        return self.processes * self.nodes

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.offload == "all" and self.zero_stage != 3:
            raise ValueError("offload: all moves the weights, which only zero_stage 3 shards; use optimizer or stage 3")
        if self.offload != "none" and self.zero_stage == 0:
            raise ValueError("offload needs zero_stage 1 or more")
        if self.nodes > 1 and self.hostfile is None:
            raise ValueError("several nodes need a hostfile that names them")
        return self


class ColdStartSettings(Section):
    """Supervised fine-tuning on traces and answers (TRL's SFTTrainer)."""

    steps: int = Field(250, ge=1)
    batch: int = Field(32, ge=1, description="samples a step, over all ranks")
    micro_batch: int | None = Field(
        None, ge=1, description="samples a rank computes at once; all of its own when absent"
    )
    learning_rate: float = Field(2e-3, gt=0)
    warmup_steps: int = 20
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    final_rate: float = Field(0.0, ge=0, lt=1, description="share of the learning rate that a cosine ends at")
    weight_decay: float = 0.01
    freeze_vision: bool = Field(True, description="leave the vision tower as it is: less to compute, nothing unlearnt")
    lora: LoraSettings | None = Field(None, description="train adapters and merge them; all weights when absent")
    gradient_checkpointing: bool | None = Field(None, description="on GPUs when absent", json_schema_extra=OBSERVES)
    save_every: int = Field(50, ge=1, description="steps between checkpoints")
    validate_samples: int = Field(64, ge=0, description="of the validation split, at each checkpoint; 0 for none")
    augment: AugmentSettings | None = Field(None, description="views of the training pictures; as they are when absent")
    seed: int = 0
    deepspeed: DeepSpeedSettings | None = Field(None, description="one plain process when absent")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        ranks = self.deepspeed.ranks if self.deepspeed else 1
        at_once = (self.micro_batch or 1) * ranks
        if self.batch % at_once:
            raise ValueError(
                f"a batch of {self.batch} cannot be shared out evenly over {ranks} ranks in parts of "
                f"{self.micro_batch or 1}; make it divisible by {at_once}"
            )
        return self


class RewardSettings(Section):
    """Which rewards GRPO learns from."""

    suite: Literal["base", "soft", "hard", "abstain"] = "soft"
    point_overlap: Literal["dice", "released"] = "dice"
    weights: dict[str, float] = {}


class GenerationSettings(Section):
    """Who writes the completions that GRPO learns from."""

    engine: Literal["transformers", "vllm-colocate", "vllm-server"] = Field(
        "transformers", description="vLLM (the `vllm` extra, GPUs) in the ranks themselves, or in a server of its own"
    )
    server: str = Field(
        "http://127.0.0.1:8000",
        description="the server's address (docs/training.md starts it)",
        json_schema_extra=OBSERVES,
    )
    gpu_memory: float = Field(
        0.3, gt=0, lt=1, description="share of each GPU that vLLM may take, colocated", json_schema_extra=OBSERVES
    )
    tensor_parallel: int = Field(
        1, ge=1, description="GPUs that share one copy of vLLM's model", json_schema_extra=OBSERVES
    )
    sleep: bool = Field(
        True, description="give the memory back while weights are updated, colocated", json_schema_extra=OBSERVES
    )


class LossSettings(Section):
    """What is minimised; the defaults are GRPO as the paper has it."""

    kind: Literal["grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo"] = "grpo"
    importance: Literal["token", "sequence"] = Field("token", description="sequence: the ratios of GSPO")
    clip: float = Field(0.2, gt=0, description="how far a ratio may leave 1")
    clip_high: float | None = Field(None, gt=0, description="upwards, where it differs (DAPO: 0.28)")
    advantage_scale: Literal["group", "batch", "none"] = Field("group", description="whose deviation divides rewards")
    mask_truncated: bool = Field(False, description="learn nothing from completions cut at the limit")
    entropy: float = Field(0.0, ge=0, description="weight of the entropy bonus")


class GrpoSettings(Section):
    """Group relative policy optimisation (TRL's GRPOTrainer) under DeepSpeed."""

    steps: int = Field(30, ge=1, description="rounds of rollouts")
    prompts: int = Field(16, ge=1, description="different prompts a round")
    rollouts: int = Field(16, ge=2, description="completions a prompt")
    updates: int = Field(
        1, ge=1, description="optimiser steps a round's completions are shared out over (mini-batches)"
    )
    micro_batch: int = Field(64, ge=1, description="completions a rank computes at once; saves memory, changes nothing")
    learning_rate: float = Field(2e-4, gt=0)
    warmup_steps: int = 2
    temperature: float = Field(0.7, gt=0)
    kl: float = Field(
        0.01, ge=0, description="weight of the KL term against the cold start; 0 loads no reference model"
    )
    loss: LossSettings = LossSettings()
    max_prompt: int = Field(2048, ge=8, description="tokens with the picture's; a longer one is an error, never cut")
    max_completion: int = Field(96, ge=8, description="tokens")
    freeze_vision: bool = True
    lora: LoraSettings | None = Field(None, description="train adapters and merge them; all weights when absent")
    gradient_checkpointing: bool | None = Field(None, description="on GPUs when absent", json_schema_extra=OBSERVES)
    save_every: int = Field(10, ge=1, description="rounds between checkpoints")
    validate_samples: int = Field(64, ge=0, description="of the validation split, at each checkpoint; 0 for none")
    seed: int = 0
    rewards: RewardSettings = RewardSettings()
    generation: GenerationSettings = GenerationSettings()
    deepspeed: DeepSpeedSettings = DeepSpeedSettings()

    @model_validator(mode="after")
    def _divides(self) -> Self:
        ranks = self.deepspeed.ranks
        at_once = self.micro_batch * ranks * self.updates
        if self.prompts * self.rollouts % at_once:
            raise ValueError(
                f"{self.prompts} prompts x {self.rollouts} rollouts cannot be shared out evenly as micro_batch "
                f"{self.micro_batch} x {ranks} ranks x {self.updates} updates; make the product divisible by {at_once}"
            )
        if self.generation.engine == "vllm-colocate" and ranks % self.generation.tensor_parallel:
            raise ValueError(f"{ranks} ranks cannot be grouped by {self.generation.tensor_parallel} (tensor_parallel)")
        return self
