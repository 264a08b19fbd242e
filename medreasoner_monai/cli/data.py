"""The commands about data sets: curate, and ``data show | card | diff``. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medreasoner_monai.cli.leaks import leaks

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
    data = typer.Typer(help="Look at curated data sets: show one, write its card, compare two.", no_args_is_help=True)
    data.command()(show)
    data.command()(card)
    data.command()(diff)
    data.command()(leaks)
    app.add_typer(data, name="data")


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
    table.add_column()
    table.add_column(overflow="fold")
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


def show(dataset: Dataset, json_: Json = False) -> None:
    """Show what a data set holds, split by split, and why masks were set aside.

    Example: medreasoner data show runs/demo/artifacts/dataset-0123456789abcdef
    """
    from medreasoner_monai.data.card import describe
    from medreasoner_monai.data.census import take

    found = describe(take(dataset), _facts(dataset), [])
    if json_:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    columns = ("samples", "absent", "patients", "pictures_of_unknown_patients", "categories", "with_trace")
    heads = ("split", "samples", "absent", "patients", "pictures of unknown patients", "categories", "with a trace")
    _table(heads, [(name, *(f"{s[c]:,}" for c in columns)) for name, s in found["splits"].items()])
    rows = [
        (
            s["name"],
            "; ".join(s["licences"]) or "-",
            f"{(s['holds'] or {}).get('samples', 0):,}",
            _reasons(s["rejected"]),
        )
        for s in found["sources"]
    ]
    _table(("source", "licence", "samples", "set aside"), rows)
    for gap in found["gaps"]:
        typer.echo(f"gap: {gap}")


def card(
    dataset: Dataset,
    out: Annotated[Path, typer.Option(help="Folder for card.html, card.md, card.json and the picture sheets.")],
) -> None:
    """Write the card of a data set again, or that of a U-MRG Parquet file; prints the page.

    A curated data set has its card already; an artifact is not changed, so the new one goes to a folder of its own.

    Example: medreasoner data card test.parquet --out card
    """
    from medreasoner_monai.data.card import write_card
    from medreasoner_monai.errors import InputError
    from medreasoner_monai.pipeline.artifacts import MANIFEST

    if (out / MANIFEST).exists():
        raise InputError(f"{out} is an artifact, which does not change; name another folder with --out")
    write_card(dataset, _facts(dataset), out)
    typer.echo(str(out / "card.html"))


def diff(
    a: Annotated[Path, typer.Argument(help="Data set folder, or one U-MRG Parquet file.")],
    b: Annotated[Path, typer.Argument(help="What it is compared with.")],
    list_: Annotated[bool, typer.Option("--list", help="Also the ids of up to ten samples of each kind.")] = False,
    json_: Json = False,
) -> None:
    """Compare two data sets sample by sample, and say what the difference means for the gate.

    Exit code 0 if they are the same, 1 if they differ, 2 if one cannot be read.

    Example: medreasoner data diff runs/a/artifacts/dataset-0123456789abcdef runs/b/artifacts/dataset-fedcba9876543210
    """
    from medreasoner_monai.data.diff import KINDS, compare

    found = compare(a, b)
    if json_:
        typer.echo(json.dumps(found.facts(), indent=2, ensure_ascii=False))
        raise typer.Exit(0 if found.same else 1)
    typer.echo(f"samples: {found.samples[0]:,} and {found.samples[1]:,}")
    if not found.same:
        kinds = [kind for kind in KINDS if found.counts[kind]]
        rows = [(name, *(_count(c[kind]) for kind in kinds)) for name, c in sorted(found.categories.items())]
        _table(("category", *kinds), [*rows, ("all", *(_count(found.counts[kind]) for kind in kinds))])
    if found.dice:
        d = found.dice
        typer.echo(f"changed masks: mean Dice {d['mean']:.3f}, least {d['least']:.3f}, {d['under_0.9']:.0f} under 0.9")
    for move, count in sorted(found.moves.items()):
        typer.echo(f"moved from {move}: {count:,}")
    for kind, changes in found.examples.items() if list_ else ():
        typer.echo(f"{kind}: {', '.join(change.id for change in changes)}")
    for sentence in found.gate:
        typer.echo(sentence)
    raise typer.Exit(0 if found.same else 1)


def _facts(dataset: Path) -> dict[str, Any]:
    """What the manifest states; nothing for a folder or a file without one."""
    from medreasoner_monai.pipeline.artifacts import MANIFEST, Artifact

    return Artifact.open(dataset).facts if (dataset / MANIFEST).is_file() else {}


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.items())


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    # Piped to a file or a program, rows are not folded to a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 240).print(table)
