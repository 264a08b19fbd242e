"""The commands about data sets: curate, and ``data show | card | diff``. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from medreasoner_monai.pipeline.artifacts import Artifact

Dataset = Annotated[Path, typer.Argument(help="Folder of a curated data set (…/artifacts/dataset-…).")]
_REASONS = 12
"""Rows of the closing table."""
Json = Annotated[bool, typer.Option("--json", help="For machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(curate)


def curate(
    config: Annotated[Path, typer.Option(help="Settings in YAML; the section data says what is curated.")],
    workspace: Annotated[Path, typer.Option(help="Folder of the run; the data set is made in its artifacts.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: --set data.clean.min_pixels=30.")
    ] = None,
    fresh: Annotated[bool, typer.Option(help="Curate again although it was done before.")] = False,
    plain: Annotated[bool, typer.Option(help="Log lines in place of a live bar.")] = False,
    json_: Json = False,
) -> None:
    """Curate a data set from its sources, and nothing else; prints its folder.

    A curation that was killed goes on where it was, and one that was finished is reused. Exit code 0 with a data set, 2
    where nothing can be made of the sources.

    Example: medreasoner curate --config configs/starter.yaml --workspace runs/demo
    """
    from rich.console import Console

    from medreasoner_monai.data import curate_stage
    from medreasoner_monai.pipeline import context as contexts
    from medreasoner_monai.pipeline.progress import TerminalProgress

    named = frozenset({"curate"}) if fresh else frozenset()
    context = contexts.open_context(config, workspace, tuple(set_ or ()), fresh=named)
    if plain or not sys.stderr.isatty():
        made = curate_stage.curate(context)
    else:
        terminal = TerminalProgress()
        contexts.show_on(terminal)
        try:
            with terminal.progress:
                made = curate_stage.curate(context)
        finally:
            contexts.show_on(None)
    if json_:
        typer.echo(json.dumps({"path": str(made.path), "digest": made.digest, **made.facts}, indent=2))
        return
    _summary(Console(stderr=True), made)
    typer.echo(str(made.path))


def _summary(console: Console, made: Artifact) -> None:
    """What went in, what was kept, and why the rest was set aside."""
    from rich.panel import Panel
    from rich.table import Table

    from medreasoner_monai import RESEARCH_USE
    from medreasoner_monai.data.census import take

    masks: dict[str, int] = made.facts["masks"]
    table = Table.grid(padding=(0, 2))
    table.add_row("masks in", f"{masks['in']:,}")
    table.add_row("kept", f"{masks['kept']:,}")
    table.add_row("set aside", f"{masks['rejected']:,}")
    reasons: Counter[str] = sum((tally.rejects for tally in take(made.path).rejects.values()), Counter())
    for reason, count in reasons.most_common(_REASONS):
        table.add_row(f"  {reason}", f"{count:,}")
    if len(reasons) > _REASONS:
        table.add_row(f"  {len(reasons) - _REASONS} more reasons", "see card.html")
    for split, found in made.facts["splits"].items():
        table.add_row(f"{split}", f"{found['samples']:,} samples, {found['groups']:,} patients or pictures")
    table.add_row("card", str(made.path / "card.html"))
    console.print(Panel(table, title="data set", subtitle=RESEARCH_USE, expand=False), highlight=False)
