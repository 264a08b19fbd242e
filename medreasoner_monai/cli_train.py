"""The commands around training: merge. Heavy imports stand inside them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from medreasoner_monai import RESEARCH_USE


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(merge)


def merge(
    shards: Annotated[Path, typer.Option(help="A DeepSpeed checkpoint, verl's FSDP shards, or a PEFT adapter.")],
    out: Annotated[Path, typer.Option(help="The new model folder; nothing is overwritten.")],
    base: Annotated[
        Path | None, typer.Option(help="The model folder that training started from; verl's may bring their own.")
    ] = None,
    adapter: Annotated[
        Path | None, typer.Option(help="Folder with adapter_config.json, for shards of LoRA weights.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32 or bfloat16. Default: what the training computed in.")
    ] = None,
    probe: Annotated[
        Path | None, typer.Option(help="What the live model answered. Default: probe.safetensors beside the shards.")
    ] = None,
) -> None:
    """Merge what a training left in pieces into one Hugging Face folder, and check it against what was trained.

    Example: medreasoner merge --shards checkpoints/checkpoint-480 --base Lingshu-7B --out merged

    Example: medreasoner merge --shards global_step_480/actor --out merged
    """
    from medreasoner_monai.cli_measure import _progress
    from medreasoner_monai.merging.merge import merge_to
    from medreasoner_monai.orchestration import quiet_environment

    quiet_environment()
    with _progress("merging") as watch:
        facts = merge_to(out, shards, base=base, adapter=adapter, dtype=dtype, probe=probe, watch=watch)
    typer.secho(_told(facts), err=True)
    typer.secho(RESEARCH_USE, err=True)
    typer.echo(str(out))


def _told(facts: dict[str, object]) -> str:
    step = f", step {facts['step']}" if facts.get("step") is not None else ""
    text = f"{facts['source']}{step}: {facts['parameters']:,} parameters in {facts['dtype']}, read back and equal"
    probe = facts.get("probe")
    if not isinstance(probe, dict):
        return f"{text}; no probe of the live model to compare logits with"
    return f"{text}; logits differ from the live model's by at most {probe['max_abs_difference']:.2g}"
