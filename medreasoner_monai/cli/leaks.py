"""`medreasoner data leaks`: what the files of a data set share that they may not. Heavy imports stand inside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from medreasoner_monai.data.firewall import Report


def leaks(
    train: Annotated[Path, typer.Argument(help="Parquet file that is trained on, in the U-MRG schema.")],
    test: Annotated[Path, typer.Argument(help="Parquet file that is tested on.")],
    val: Annotated[Path | None, typer.Option(help="Parquet file that is validated on.")] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Accept this kind: group, study, picture, near-duplicate or question. May be repeated."),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check that no patient, study, picture, near-duplicate or question is on both sides of a split.

    Exit code 0 where nothing is shared, 1 where something is.

    Example: medreasoner data leaks train.parquet test.parquet --val val.parquet
    """
    from medreasoner_monai.data.firewall import KINDS
    from medreasoner_monai.data.leaks import check_files
    from medreasoner_monai.errors import InputError, nearest

    for kind in allow or ():
        if kind not in KINDS:
            raise InputError(
                f"--allow {kind}: not a kind of leak; expected one of {', '.join(KINDS)}.{nearest(kind, KINDS)}"
            )
    files = {"train": train, "test": test} | ({} if val is None else {"val": val})
    report, unreadable = check_files(files, tuple(allow or ()))
    if json_:
        typer.echo(json.dumps(report.as_dict() | {"unreadable": unreadable}, indent=2))
    else:
        _show(report, unreadable)
    if report.refused:
        raise typer.Exit(1)


def _show(report: Report, unreadable: int) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    table = Table("shared", "found", "", title=", ".join(f"{split}: {n}" for split, n in report.samples.items()))
    for kind, count in report.as_dict()["leaks"].items():
        table.add_row(kind, str(count), "accepted" if count and kind in report.allowed else "")
    console.print(table)
    for leak in report.examples:
        alike = "" if leak.likeness is None else f", likeness {leak.likeness:.3f}"
        typer.echo(f"{leak.kind}: {leak.first} and {leak.second}{alike}")
    if unreadable:
        typer.secho(f"{unreadable} rows could not be read and were not checked", err=True, fg="yellow")
