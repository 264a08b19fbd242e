"""Our cold start's settings as LLaMA-Factory's training YAML has them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.export.mapped import Facts, Mapped, up_to_multiple
from medreasoner_monai.export.model import Model
from medreasoner_monai.settings.training import ColdStartSettings

TEMPLATE = "qwen2_vl"
DEEPSPEED = "deepspeed.json"
OUTPUT = "output"


@dataclass(frozen=True)
class Machine:
    """What it is to run on: GPUs, samples a GPU computes at once (as many as fit the batch when None), ZeRO stage."""

    gpus: int = 1
    at_once: int | None = None
    zero_stage: int | None = None

    def share(self, batch: int, micro_batch: int | None = None) -> tuple[int, int]:
        """Samples a GPU at once, and how often gradients are accumulated, so that a step has ``batch`` samples.

        Raises
        ------
        ConfigError
            If they cannot be shared out evenly.
        """
        at_once = self.at_once or micro_batch or batch // self.gpus
        if not at_once or batch % (self.gpus * at_once):
            raise ConfigError(
                f"cold_start.batch {batch} cannot be shared out evenly over {self.gpus} GPUs with "
                f"{at_once or 1} samples at once; change --gpus, --at-once, or --set cold_start.batch=…"
            )
        return at_once, batch // (self.gpus * at_once)


def sft_settings(
    cold: ColdStartSettings, model: Model, facts: dict[str, Facts], names: dict[str, str], machine: Machine
) -> list[Mapped]:
    """The whole training YAML, in the order it is written.

    Parameters
    ----------
    facts:
        By split, of the exported rows.
    names:
        By split, the data set's name in ``dataset_info.json``.
    """
    at_once, accumulated = machine.share(cold.batch, cold.micro_batch)
    most = max(model.max_pixels, *(f.most_pixels for f in facts.values()))
    schedule, kwargs = _schedule(cold)
    mapped = [
        Mapped("model_name_or_path", str(model.folder), "`model.path`, or --model"),
        Mapped("image_max_pixels", most, "large enough: pictures are in the model's frame already"),
        Mapped("image_min_pixels", 1, "small enough, likewise"),
        Mapped("stage", "sft", "the cold start"),
        Mapped("do_train", True, ""),
        *_adapters(cold),
        Mapped("freeze_vision_tower", cold.freeze_vision, "`cold_start.freeze_vision`"),
        Mapped(
            "freeze_multi_modal_projector", cold.freeze_vision, "`cold_start.freeze_vision`, which holds the merger"
        ),
        Mapped("freeze_language_model", False, ""),
        Mapped("dataset_dir", ".", "run it in this folder"),
        Mapped("dataset", names["train"], "`dataset_info.json`"),
        Mapped("template", TEMPLATE, "that of Qwen2.5-VL, too"),
        Mapped("default_system", model.default_system, "what the model's chat template says where nobody does"),
        Mapped("cutoff_len", up_to_multiple(max(f.longest for f in facts.values()) + 1), "the longest sample: no cut"),
        Mapped("train_on_prompt", False, "the loss is on the answer alone, as ours"),
        Mapped("per_device_train_batch_size", at_once, "`cold_start.micro_batch`, or --at-once"),
        Mapped("gradient_accumulation_steps", accumulated, "`cold_start.batch` with --gpus and --at-once"),
        Mapped("max_steps", cold.steps, "`cold_start.steps`"),
        Mapped("learning_rate", cold.learning_rate, "`cold_start.learning_rate`"),
        Mapped("lr_scheduler_type", schedule, "`cold_start.schedule`, `cold_start.final_rate`"),
        *([Mapped("lr_scheduler_kwargs", kwargs, "`cold_start.final_rate`")] if kwargs else []),
        Mapped("warmup_steps", cold.warmup_steps, "`cold_start.warmup_steps`"),
        Mapped("weight_decay", cold.weight_decay, "`cold_start.weight_decay`"),
        Mapped("adam_beta2", 0.99, "as the cold start"),
        Mapped("bf16", True, "as the cold start on a GPU"),
        Mapped(
            "disable_gradient_checkpointing",
            cold.gradient_checkpointing is False,
            "`cold_start.gradient_checkpointing`",
        ),
        Mapped("seed", cold.seed, "`cold_start.seed`"),
        Mapped("data_seed", cold.seed, "`cold_start.seed`"),
        Mapped("output_dir", OUTPUT, ""),
        Mapped("logging_steps", 5, "as the cold start"),
        Mapped("save_steps", cold.save_every, "`cold_start.save_every`"),
        Mapped("save_total_limit", 2, "as the cold start"),
        Mapped("report_to", "none", "nothing leaves the machine unless you say so"),
    ]
    if machine.zero_stage is not None:
        mapped.append(Mapped("deepspeed", DEEPSPEED, f"--zero {machine.zero_stage}"))
    if "val" in names:
        mapped += [
            Mapped("eval_dataset", names["val"], "the validation split"),
            Mapped("per_device_eval_batch_size", at_once, "as in training"),
            Mapped("eval_strategy", "steps", ""),
            Mapped("eval_steps", cold.save_every, "`cold_start.save_every`"),
        ]
    return mapped


def _adapters(cold: ColdStartSettings) -> list[Mapped]:
    if cold.lora is None:
        return [Mapped("finetuning_type", "full", "`cold_start.lora` is not set: all weights")]
    return [
        Mapped("finetuning_type", "lora", "`cold_start.lora`"),
        Mapped("lora_rank", cold.lora.rank, "`cold_start.lora`"),
        Mapped("lora_alpha", cold.lora.alpha, "`cold_start.lora`"),
        Mapped("lora_dropout", cold.lora.dropout, "`cold_start.lora`"),
        Mapped("lora_target", ",".join(cold.lora.targets), "`cold_start.lora`"),
    ]


def _schedule(cold: ColdStartSettings) -> tuple[str, dict[str, float]]:
    if cold.schedule == "cosine" and cold.final_rate:
        return "cosine_with_min_lr", {"min_lr_rate": cold.final_rate}
    return cold.schedule, {}


def write_yaml(path: Path, mapped: list[Mapped]) -> None:
    """The settings as YAML."""
    values = {m.name: m.value for m in mapped}
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")
