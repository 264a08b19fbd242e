"""The commands about data sets, ``medreasoner data …``."""

from __future__ import annotations

import typer

from medreasoner_monai.cli.leaks import leaks


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    data = typer.Typer(help="Look at data sets: what their splits share.", no_args_is_help=True)

    @data.callback()
    def group() -> None:
        """Keep ``data`` a group of commands while it has one alone."""

    data.command()(leaks)
    app.add_typer(data, name="data")
