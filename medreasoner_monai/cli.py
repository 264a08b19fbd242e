"""The command line. Heavy imports stand inside the commands, so that --help answers at once."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from medreasoner_monai import RESEARCH_USE, __version__, cli_measure, cli_train
from medreasoner_monai.errors import MedReasonerError

app = typer.Typer(
    help=f"Grounded medical reasoning: train, evaluate, package and ask.\n\n{RESEARCH_USE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

cli_measure.register(app)
cli_train.register(app)

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
    plain: Annotated[bool, typer.Option(help="Log lines in place of live bars.")] = False,
) -> None:
    """Run the whole chain: curate, train, evaluate, gate, package, ground, report.

    Finished stages are reused; a run that was killed goes on where it was.

    Example: medreasoner run --config configs/starter.yaml --workspace runs/demo
    """
    from medreasoner_monai.run import run_chain

    overrides = list(set_ or [])
    overrides += [f"ground.{k}={_yaml(v)}" for k, v in _given(dicom=dicom, question=question, series=series).items()]
    run_chain(config, workspace, tuple(overrides), live=not plain and sys.stderr.isatty())


@app.command()
def ground(
    bundle: Annotated[Path, typer.Option(help="Bundle folder, such as runs/demo/bundle.")],
    dicom: Annotated[Path, typer.Option(help="Series: a folder or a file.")],
    question: Annotated[str, typer.Option(help="What to look for.")],
    out: Annotated[Path, typer.Option(help="Folder for seg.dcm, overlay.png and answer.json.")],
    series: Annotated[str | None, typer.Option(help="Series Instance UID, when there are several.")] = None,
    slices: Annotated[str, typer.Option(help="auto, all, or a slice counted from 0.")] = "auto",
) -> None:
    """Ask a packaged model about a DICOM series and write the answer as DICOM-SEG, picture and JSON.

    Example: medreasoner ground --bundle runs/demo/bundle --dicom ct/ --question "Which organ makes bile?" --out answer
    """
    import json

    from medreasoner_monai.bundle.ground import ground_cli
    from medreasoner_monai.orchestration import quiet_environment

    quiet_environment()
    with _bar("answering slices") as step:
        made = ground_cli(bundle, dicom, question, out, series, slices, progress=step)
    answer = json.loads(made.answer.read_text(encoding="utf-8"))
    for path in (made.seg, made.overlay, made.answer):
        typer.echo(str(path))
    typer.echo(f"{_marked(answer)} marked. {RESEARCH_USE}", err=True)


@app.command()
def ui(
    workspace: Workspace,
    mlflow_port: Annotated[int, typer.Option(help="Port of MLflow's pages.")] = 5000,
    prefect_port: Annotated[int, typer.Option(help="Port of Prefect's pages.")] = 4200,
) -> None:
    """Show a workspace's MLflow and Prefect pages until Ctrl-C; the report links to them."""
    from medreasoner_monai.ui import serve

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


def _marked(answer: Mapping[str, Any]) -> str:
    """How much; without a spacing of its slices a series has no volume."""
    volume = answer["volume_ml"]
    return f"{answer['voxels']} voxels" if volume is None else f"{volume:.1f} ml"


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _yaml(value: Any) -> str:
    import json

    return json.dumps(str(value))  # JSON strings are YAML strings


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def main() -> None:
    """Run a command; a project error becomes one line on stderr and its exit code (2 the user's mistake, 1 ours)."""
    log = logging.getLogger("medreasoner")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    try:
        app()
    except MedReasonerError as error:
        typer.secho(f"error: {error}", fg="red", err=True)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.secho("stopped; the same command goes on from here", err=True)
        raise SystemExit(130) from None
