"""What a training will need of each GPU, of the disk and of time: estimates from the model's sizes, not measurements.

Every figure is worked out from the shapes and the settings by the rules written beside it, so that a reader can check
it. Buffers of libraries and fragmentation are covered by a tenth on top and :data:`CONTEXT`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from medreasoner_monai.settings.training import ColdStartSettings, GrpoSettings, HardwareSettings, LoraSettings
from medreasoner_monai.training.arguments import KEEP

GB = 1e9
CONTEXT = 3.0
"""GB a GPU for CUDA, NCCL and kernels' workspaces."""
SLACK = 1.1
MFU = 0.35
"""Share of a GPU's peak that training reaches; decoding is bound by reading weights instead."""
BANDWIDTH = 3000.0
"""GB a second that a GPU reads its memory at."""
DECODE_STEP = 0.03
"""Seconds that transformers' generate needs for a token of all rollouts of a rank, at least; vLLM needs a third."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a Qwen2.5-VL: parameters in all and in the vision tower, and what activations depend on."""

    parameters: int
    vision: int
    linears: dict[str, tuple[int, int]]
    layers: int
    hidden: int
    intermediate: int
    cache: int
    vocabulary: int
    context: int

    @classmethod
    def of(cls, config: dict[str, Any]) -> Shape:
        """Of a ``config.json``; the model is built without memory to count its parameters."""
        import torch
        from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

        known = Qwen2_5_VLConfig.from_dict(config)
        with torch.device("meta"):
            model: Any = Qwen2_5_VLForConditionalGeneration(known)
        text = known.get_text_config()
        head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
        linears = {
            name: (m.in_features, m.out_features)
            for name, m in model.model.language_model.named_modules()
            if isinstance(m, torch.nn.Linear)
        }
        return cls(
            parameters=sum(p.numel() for p in model.parameters()),
            vision=sum(p.numel() for p in model.model.visual.parameters()),
            linears=linears,
            layers=text.num_hidden_layers,
            hidden=text.hidden_size,
            intermediate=text.intermediate_size,
            cache=2 * text.num_hidden_layers * text.num_key_value_heads * head,
            vocabulary=text.vocab_size,
            context=text.max_position_embeddings,
        )

    def trained(self, lora: LoraSettings | None, *, freeze_vision: bool) -> int:
        """Parameters that an optimiser moves: an adapter of rank r has r (in + out) of them."""
        if lora is None:
            return self.parameters - (self.vision if freeze_vision else 0)
        return sum(lora.rank * (i + o) for name, (i, o) in self.linears.items() if name.split(".")[-1] in lora.targets)


@dataclass(frozen=True)
class Estimate:
    """For one stage: GB a rank by part in the phase that needs most, of a machine's memory, on disk, and seconds."""

    memory: dict[str, float]
    host: float
    disk: float
    seconds_per_step: float | None
    steps: int
    weights: float = 0.0
    """GB of the whole model, in the precision it is trained in."""
    notes: list[str] = field(default_factory=list)

    @property
    def total(self) -> float:
        """GB a rank, slack and context included."""
        return sum(self.memory.values()) * SLACK + CONTEXT


def states(shape: Shape, settings: ColdStartSettings | GrpoSettings, *, gpu: bool) -> tuple[dict[str, float], float]:
    """GB a rank that training holds all the time, and GB of a machine's own memory that offloading takes.

    In bfloat16 a weight takes 2 bytes and its gradient 2; the optimiser keeps a float32 copy and two moments, 12 bytes.
    ZeRO 1 shards the 12, ZeRO 2 the gradients too, ZeRO 3 also the weights (Rajbhandari et al., SC 2020).
    """
    spread = settings.deepspeed
    ranks = spread.ranks if spread else 1
    stage = spread.zero_stage if spread else 0
    offload = spread.offload if spread else "none"
    width = 2 if gpu else 4
    moved = shape.trained(settings.lora, freeze_vision=settings.freeze_vision)
    adapters = moved if settings.lora else 0
    weights = width * (shape.parameters + adapters) / (ranks if stage == 3 else 1) / GB
    gradients = width * moved / (ranks if stage >= 2 else 1) / GB
    optimiser = 12 * moved / (ranks if stage >= 1 else 1) / GB
    processes = spread.processes if spread else 1
    host = processes * ((optimiser if offload != "none" else 0) + (weights if offload == "all" else 0))
    parts = {
        "weights": 0.0 if offload == "all" else weights,
        "gradients": gradients,
        "optimiser": 0.0 if offload != "none" else optimiser,
    }
    if isinstance(settings, GrpoSettings) and settings.kl > 0 and settings.lora is None:
        parts["reference model"] = width * shape.parameters / (ranks if stage == 3 else 1) / GB
    return parts, host


def activations(shape: Shape, sequences: int, tokens: int, *, checkpointing: bool, gpu: bool, logits: bool) -> float:
    """GB for so many sequences of so many tokens at once.

    A layer keeps about 8 hidden and 3 intermediate vectors a token; with checkpointing one layer does, the others keep
    their input alone. The cold start makes all logits, in the model's precision and once in float32.
    """
    width = 2 if gpu else 4
    whole = width * (8 * shape.hidden + 3 * shape.intermediate)
    inputs = width * shape.hidden
    each = shape.layers * inputs + whole if checkpointing else shape.layers * whole
    made = (width + 4) * shape.vocabulary if logits else 0
    return sequences * tokens * (each + made) / GB


def cold_start(
    shape: Shape, settings: ColdStartSettings, tokens: int, hardware: HardwareSettings, *, gpu: bool
) -> Estimate:
    """For supervised fine-tuning on sequences of ``tokens`` tokens at most."""
    held, host = states(shape, settings, gpu=gpu)
    ranks = settings.deepspeed.ranks if settings.deepspeed else 1
    at_once = settings.micro_batch or settings.batch // ranks
    again = gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    held["activations"] = activations(shape, at_once, tokens, checkpointing=again, gpu=gpu, logits=True)
    flops = (8 if again else 6) * shape.parameters * settings.batch * tokens
    whole = (2 if gpu else 4) * shape.parameters / GB
    seconds = flops / (ranks * hardware.gpu_tflops * 1e12 * MFU) if gpu else None
    return Estimate(held, host, disk(shape, settings, gpu=gpu), seconds, settings.steps, whole)


def grpo(shape: Shape, settings: GrpoSettings, hardware: HardwareSettings, *, gpu: bool) -> Estimate:
    """For GRPO with prompts and completions as long as the settings allow."""
    held, host = states(shape, settings, gpu=gpu)
    ranks, tokens = settings.deepspeed.ranks, settings.max_prompt + settings.max_completion
    again = gpu if settings.gradient_checkpointing is None else settings.gradient_checkpointing
    own = settings.prompts * settings.rollouts // ranks
    width = 2 if gpu else 4
    whole = width * shape.parameters / GB
    update = {
        "activations": activations(shape, settings.micro_batch, tokens, checkpointing=again, gpu=gpu, logits=False)
    }
    notes: list[str] = []
    rollout: dict[str, float]
    if settings.generation.engine == "transformers":
        rollout = {"keys and values": own * tokens * width * shape.cache / GB}
        if settings.deepspeed.zero_stage == 3:
            rollout["weights, gathered"] = whole
        step = DECODE_STEP
    elif settings.generation.engine == "vllm-colocate":
        rollout = {"vLLM": settings.generation.gpu_memory * hardware.gpu_memory}
        if not settings.generation.sleep:
            update |= rollout
        step = DECODE_STEP / 3
    else:
        rollout, step = {}, DECODE_STEP / 3
        notes.append("the vLLM server needs GPUs of its own, which are not counted here")
    # The two phases follow each other; what the greater needs is what must be there.
    held |= update if sum(update.values()) >= sum(rollout.values()) else rollout
    seconds = None
    if gpu:
        trained = settings.prompts * settings.rollouts * tokens
        passes = (8 if again else 6) + (2 if settings.kl > 0 else 0) + (2 if settings.updates > 1 else 0)
        compute = passes * shape.parameters * trained / (ranks * hardware.gpu_tflops * 1e12 * MFU)
        reading = max(step, whole / BANDWIDTH)
        seconds = compute + settings.max_completion * reading
    return Estimate(held, host, disk(shape, settings, gpu=gpu), seconds, settings.steps, whole, notes)


def disk(shape: Shape, settings: ColdStartSettings | GrpoSettings, *, gpu: bool) -> float:
    """GB of checkpoints at the worst moment: those kept and the one being written, each with optimiser and weights.

    Of GRPO's the best is copied into the artifact when the others are still there.
    """
    copies = KEEP + 1 + isinstance(settings, GrpoSettings)
    moved = shape.trained(settings.lora, freeze_vision=settings.freeze_vision)
    width = 2 if gpu else 4
    if settings.lora is not None:
        return copies * (12 + width) * moved / GB
    return copies * (12 * moved + 2 * width * shape.parameters) / GB
