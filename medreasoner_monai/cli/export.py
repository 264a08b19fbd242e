"""The commands that hand data, rewards and settings to other training projects. Heavy imports stand inside them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medreasoner_monai.cli.measure import progress

if TYPE_CHECKING:
    from medreasoner_monai.export.model import Model
    from medreasoner_monai.export.rows import Splits
    from medreasoner_monai.settings.config import Settings

Config = Annotated[Path, typer.Option(help="Settings in YAML, such as configs/paper.yaml.")]
DataOption = Annotated[
    Path, typer.Option(help="A curated folder (train.parquet and val.parquet), or a U-MRG parquet file to train on.")
]
Out = Annotated[Path, typer.Option(help="Folder to write: new or empty.")]
ModelOption = Annotated[
    Path | None, typer.Option(help="Model folder to train, whose processor makes the frame. Default: model.path.")
]
Val = Annotated[Path | None, typer.Option(help="A U-MRG parquet file to validate on.")]
ValShare = Annotated[float, typer.Option(min=0, max=0.5, help="Without one: share of the training groups set aside.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set grpo.steps=50. May be repeated.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    exports = typer.Typer(
        help="Write data, rewards and settings for another project's training: LLaMA-Factory (SFT), verl (GRPO).",
        no_args_is_help=True,
    )
    exports.command("llama-factory")(llama_factory)
    exports.command("verl")(verl)
    app.add_typer(exports, name="export")


def llama_factory(
    config: Config,
    data: DataOption,
    out: Out,
    model: ModelOption = None,
    val: Val = None,
    val_share: ValShare = 0.0,
    gpus: Annotated[int, typer.Option(min=1, help="GPUs that share cold_start.batch.")] = 1,
    at_once: Annotated[
        int | None, typer.Option(min=1, help="Samples a GPU computes at once; the rest follows.")
    ] = None,
    zero: Annotated[int | None, typer.Option(min=0, max=3, help="Also a DeepSpeed config of this ZeRO stage.")] = None,
    set_: Overrides = None,
) -> None:
    """Write the cold start for LLaMA-Factory: pictures, conversations, dataset_info.json and sft.yaml.

    Example: medreasoner export llama-factory --config configs/paper.yaml --data train.parquet --out sft --gpus 4
    """
    from medreasoner_monai.export.llama_factory import export_llama_factory
    from medreasoner_monai.export.llama_factory_settings import Machine

    settings, splits, asked = _opened(config, set_, data, val, val_share, model)
    with progress("exporting") as watch:
        counts = export_llama_factory(settings, asked, splits, out, Machine(gpus, at_once, zero), watch)
    _told(counts, out)


def verl(
    config: Config,
    data: DataOption,
    out: Out,
    model: ModelOption = None,
    val: Val = None,
    val_share: ValShare = 0.0,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    gpus: Annotated[int | None, typer.Option(min=1, help="GPUs a machine. Default: grpo.deepspeed.processes.")] = None,
    set_: Overrides = None,
) -> None:
    """Write GRPO for verl: parquet, reward.py with the config's rewards, and run.sh.

    Example: medreasoner export verl --config configs/paper.yaml --data dataset/ --model merged/ --out grpo --nodes 8
    """
    from medreasoner_monai.export.verl import export_verl
    from medreasoner_monai.export.verl_settings import Cluster

    settings, splits, asked = _opened(config, set_, data, val, val_share, model)
    with progress("exporting") as watch:
        counts = export_verl(settings, asked, splits, out, Cluster(nodes, gpus), watch)
    _told(counts, out)


def _opened(
    config: Path, overrides: list[str] | None, data: Path, val: Path | None, val_share: float, model: Path | None
) -> tuple[Settings, Splits, Model]:
    """What both exports begin with."""
    from medreasoner_monai.export.model import Model
    from medreasoner_monai.export.rows import Splits
    from medreasoner_monai.settings.loading import load_settings

    settings = load_settings(config, overrides or ())
    return settings, Splits.find(data, val, val_share), Model.open(settings.model, model)


def _told(counts: Mapping[str, int], out: Path) -> None:
    said = ", ".join(f"{n} {'set aside' if name == 'rejects' else name}" for name, n in counts.items())
    typer.secho(said + (f"; why stands in {out / 'rejects.json'}" if counts["rejects"] else ""), err=True)
    typer.echo(str(out / "README.md"))
