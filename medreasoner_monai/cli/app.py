"""The command line. Heavy imports stand inside the commands, so that --help answers at once."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.cli import bundle, data, deidentify, export, ground, measure, review, runs, taxonomy, train
from medreasoner_monai.pipeline.explain import explain_error

app = typer.Typer(
    help=f"Grounded medical reasoning: train, evaluate, package and ask.\n\n{RESEARCH_USE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

data.register(app)
measure.register(app)
train.register(app)
export.register(app)
ground.register(app)
bundle.register(app)
deidentify.register(app)
review.register(app)
runs.register(app)
taxonomy.register(app)

Workspace = Annotated[Path, typer.Option(help="Folder of the run: artifacts, tracking, report. Made if absent.")]


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="Settings in YAML, such as configs/starter.yaml.")],
    workspace: Workspace,
    dicom: Annotated[Path | None, typer.Option(help="Ground this series (folder or file) at the end.")] = None,
    question: Annotated[str | None, typer.Option(help="What to ask about it; needs no target's name.")] = None,
    series: Annotated[str | None, typer.Option(help="Series Instance UID, when the folder holds several.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a setting: --set grpo.steps=50. May be repeated.")
    ] = None,
    fresh: Annotated[
        list[str] | None, typer.Option(help="Run this stage again although it was run before. May be repeated.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the run's record.")] = "",
    plain: Annotated[bool, typer.Option(help="Log lines in place of live bars.")] = False,
) -> None:
    """Run the whole chain: curate, train, evaluate, gate, package, ground, report.

    Finished stages are reused; a run that was killed goes on where it was. `medreasoner runs` lists what was run.

    Example: medreasoner run --config configs/starter.yaml --workspace runs/demo
    """
    from medreasoner_monai.cli.chain import run_chain

    overrides = list(set_ or [])
    overrides += [f"ground.{k}={_yaml(v)}" for k, v in _given(dicom=dicom, question=question, series=series).items()]
    run_chain(
        config,
        workspace,
        tuple(overrides),
        fresh=tuple(fresh or ()),
        reason=reason,
        live=not plain and sys.stderr.isatty(),
    )


@app.command()
def ui(
    workspace: Workspace,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
) -> None:
    """Show a workspace's MLflow and Prefect pages until Ctrl-C; the report links to them."""
    from medreasoner_monai.cli.ui import serve

    serve(workspace, mlflow_port, prefect_port)


@app.command()
def doctor(json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Say what this machine can run, and how to get what is missing. Exit code 1 when the demo cannot run."""
    from rich.console import Console

    from medreasoner_monai.doctor import as_json, can_run, examine, render

    checks = examine()
    if json_:
        typer.echo(as_json(checks))
    else:
        Console().print(render(checks))
    raise typer.Exit(0 if can_run(checks) else 1)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it.")] = False,
) -> None:
    """Options of every command."""


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _yaml(value: Any) -> str:
    import json

    return json.dumps(str(value))  # JSON strings are YAML strings


def main() -> None:
    """Run a command; a project error becomes one line on stderr and its exit code (2 the user's mistake, 1 ours)."""
    log = logging.getLogger("medreasoner")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        app()
    except KeyboardInterrupt:
        typer.secho("stopped; the same command goes on from here", err=True)
        raise SystemExit(130) from None
    except Exception as error:
        known = explain_error(error)
        if known is None:
            raise
        typer.secho(f"error: {known}", fg="red", err=True)
        raise SystemExit(known.exit_code) from None
