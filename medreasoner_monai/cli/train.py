"""The commands of training: train, merge. Heavy imports stand inside them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medreasoner_monai import RESEARCH_USE

if TYPE_CHECKING:
    from medreasoner_monai.training.plan import Plan, StagePlan


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (train, merge):
        app.command()(command)


def train(
    config: Annotated[Path, typer.Option(help="Settings in YAML, such as configs/single-gpu-lora.yaml.")],
    workspace: Annotated[Path, typer.Option(help="Folder of the run: artifacts, tracking.")] = Path("runs/train"),
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: --set grpo.steps=50. May be repeated.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be launched and needed; exit code 2 on any problem.")
    ] = False,
    plain: Annotated[bool, typer.Option(help="Log lines in place of live bars.")] = False,
) -> None:
    """Train alone: curate, cold start, GRPO, merge. Prints the merged model's folder.

    Launches as many ranks as the settings say, on one machine or over a hostfile. Finished stages are reused; a
    training that was killed or stopped goes on from its last checkpoint. SIGTERM and Ctrl-C save one first.

    Example: medreasoner train --config configs/paper.yaml --dry-run

    Example: medreasoner train --config configs/single-node.yaml --workspace runs/node
    """
    overrides = tuple(set_ or ())
    if not dry_run:
        from medreasoner_monai.cli.chain import run_training

        typer.echo(str(run_training(config, workspace, overrides, live=not plain and sys.stderr.isatty())))
        return
    from medreasoner_monai.settings.loading import load_settings
    from medreasoner_monai.training.plan import plan

    found = plan(load_settings(config, overrides), workspace, here=False)
    _show(config, found)
    if found.problems:
        raise typer.Exit(2)


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
    from medreasoner_monai.cli.measure import progress
    from medreasoner_monai.pipeline.environment import quiet_environment
    from medreasoner_monai.training.merging.merge import merge_to

    quiet_environment()
    with progress("merging") as watch:
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


def _show(config: Path, found: Plan) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(soft_wrap=True, highlight=False)
    size = found.parameters
    shown = f"{size / 1e9:.2f} billion" if size >= 1e9 else f"{size / 1e6:.2f} million"
    console.print(f"[bold]{escape(str(config))}[/]: {shown} parameters" if size else f"[bold]{escape(str(config))}[/]")
    for stage in found.stages:
        console.print(f"\n[bold]{stage.name}[/]  {_spread(stage)}")
        console.print(escape(stage.command), style="dim")
        parts = ", ".join(f"{name} {gb:.1f}" for name, gb in stage.estimate.memory.items() if gb >= 0.05)
        # A small model's parts all round to nothing.
        console.print(f"  memory a rank  about {stage.estimate.total:.0f} GB{f' ({parts})' if parts else ''}")
        if stage.estimate.host:
            console.print(f"  offloaded      about {stage.estimate.host:.0f} GB of a machine's memory")
        console.print(f"  checkpoints    up to {stage.estimate.disk:.1f} GB")
        console.print(f"  time           {_time(stage)}")
        for note in stage.estimate.notes:
            console.print(f"  note           {note}")
    for note in found.notes:
        console.print(f"[yellow]note[/] {escape(note)}")
    for problem in found.problems:
        console.print(f"[red]problem[/] {escape(problem)}")
    if not found.problems:
        console.print("\nno problem found; memory and time are estimates (docs/training.md says how they are made)")


def _spread(stage: StagePlan) -> str:
    ranks = "1 rank" if stage.ranks == 1 else f"{stage.ranks} ranks"
    return ranks if stage.zero_stage is None else f"{ranks}, ZeRO-{stage.zero_stage}"


def _time(stage: StagePlan) -> str:
    from medreasoner_monai.pipeline.progress import format_seconds

    each = stage.estimate.seconds_per_step
    if each is None:
        return "not estimated on a CPU; docs/performance.md has what was measured"
    whole = format_seconds(each * stage.estimate.steps)
    return (
        f"at most about {format_seconds(each)} a step with sequences of full length, {whole} for {stage.estimate.steps}"
    )
