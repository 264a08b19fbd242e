"""The commands about runs: list, show, diff, keep, and prune. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.pipeline.comparison import Difference
    from medreasoner_monai.pipeline.runs import RunRecord
    from medreasoner_monai.pipeline.workspace import Workspace

WorkspaceOption = Annotated[
    Path | None, typer.Option(envvar="MEDREASONER_WORKSPACE", help="Folder that the runs were made in.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    runs = typer.Typer(help="List the runs of a workspace, show one, compare two.")
    runs.callback(invoke_without_command=True)(list_runs)
    runs.command()(show)
    runs.command()(diff)
    runs.command()(keep)
    app.add_typer(runs, name="runs")
    app.command()(prune)


def list_runs(context: typer.Context, workspace: WorkspaceOption = None, json_: JsonOption = False) -> None:
    """List the runs of a workspace, newest first; `runs show`, `runs diff` and `runs keep` look at single ones.

    Example: medreasoner runs --workspace runs/demo

    Example: medreasoner runs diff 20261101 latest --workspace runs/demo
    """
    context.obj = workspace
    if context.invoked_subcommand is not None:
        return
    records = list(_workspace(workspace).runs.all())[::-1]
    if json_:
        typer.echo(json.dumps([r.model_dump(mode="json") for r in records], indent=2))
        return
    rows = [
        (r.id, r.status, _duration(r), _figure(r, "grpo"), r.decision or "", r.started_by, r.reason or r.trigger)
        for r in records
    ]
    _table(("run", "status", "took", "box IoU", "decision", "started by", "why"), rows)


def show(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id, a part of it that no other has, or latest.")],
    workspace: WorkspaceOption = None,
    json_: JsonOption = False,
) -> None:
    """Show one run: who started it and why, its stages' artifacts, figures and decision.

    Example: medreasoner runs show latest --workspace runs/demo
    """
    space = _workspace(workspace or context.obj)
    record = space.runs.load(id_)
    if json_:
        typer.echo(record.model_dump_json(indent=2))
        return
    from medreasoner_monai.pipeline.comparison import flat

    lines = [
        ("run", record.id),
        ("status", record.status + (f": {record.error}" if record.error else "")),
        ("chain", record.chain),
        ("started", f"{record.started} by {record.started_by} ({record.trigger})"),
        ("reason", record.reason or "none given"),
        ("took", _duration(record) or "still at work"),
        ("config", f"{record.config} {' '.join(record.overrides)}".strip()),
        ("MLflow run", record.mlflow_run or "none"),
        ("Prefect flow run", record.flow_run or "none"),
        ("decision", f"{record.decision}: {'; '.join(record.reasons)}" if record.decision else "none"),
        ("kept", "yes" if record.kept else "no"),
        ("folder", str(space.runs.folder(record.id))),
    ]
    _table(("", ""), lines)
    stages = [(n, s.ref.name, s.ref.digest[:12], f"{s.seconds:.0f} s", "yes" if s.reused else "") for n, s in
              record.artifacts.items()]  # fmt: skip
    _table(("stage", "artifact", "digest", "took", "reused"), stages)
    if record.figures:
        _table(("figure", "value"), [(n, _text(v)) for n, v in flat(record.figures).items()])


def diff(
    context: typer.Context,
    first: Annotated[str, typer.Argument(help="Run.")],
    second: Annotated[str, typer.Argument(help="Run to compare with it.")],
    workspace: WorkspaceOption = None,
    json_: JsonOption = False,
) -> None:
    """Say what differs between two runs: settings, data, code, figures.

    Example: medreasoner runs diff 20261101-1203 latest --workspace runs/demo
    """
    from medreasoner_monai.pipeline.comparison import compare_runs

    space = _workspace(workspace or context.obj)
    found = compare_runs(space.runs.load(first), space.runs.load(second), space.store)
    if json_:
        typer.echo(json.dumps([vars(d) | {"change": d.change} for d in found], indent=2, default=str))
        return
    if not found:
        typer.echo("no difference in settings, data, code or figures")
        return
    _table(
        ("", "name", "first", "second", "change"),
        [(d.section, d.name, _text(d.first), _text(d.second), _change(d)) for d in found],
    )


def keep(
    context: typer.Context,
    id_: Annotated[str, typer.Argument(metavar="ID", help="Run.")],
    undo: Annotated[bool, typer.Option("--undo", help="Let pruning remove it again.")] = False,
    workspace: WorkspaceOption = None,
) -> None:
    """Mark a run so that pruning leaves it, and all it points to, alone.

    Example: medreasoner runs keep latest --workspace runs/demo
    """
    runs = _workspace(workspace or context.obj).runs
    with runs.changed(runs.load(id_).id) as record:
        record.kept = not undo
    typer.echo(f"{record.id} is {'no longer' if undo else 'now'} kept")


def prune(
    workspace: WorkspaceOption = None,
    keep_last: Annotated[int, typer.Option(min=0, help="Keep so many of the newest runs.")] = 5,
    older_than: Annotated[float, typer.Option(min=0, help="Remove only what is older than so many days.")] = 30,
    config: Annotated[
        Path | None, typer.Option(help="Settings with the tracking server, if the runs used one.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove old runs, and the artifacts that no remaining run needs.

    What a registered model, an alias or a kept run points to is never removed; if the model registry cannot be asked,
    nothing is. A shared store is not touched.

    Example: medreasoner prune --workspace runs/demo --keep-last 3 --older-than 7 --dry-run
    """
    from rich.console import Console

    from medreasoner_monai.cli.bar import bar
    from medreasoner_monai.pipeline import pruning

    space = _workspace(workspace)
    plan = pruning.plan_pruning(space, pruning.Policy(keep_last, older_than), _registered(space, config))
    console = Console(stderr=True, highlight=False)
    for id_, why in plan.kept.items():
        console.print(f"keep    {id_}  ({why})", markup=False)
    for id_ in plan.runs:
        console.print(f"remove  {id_}", markup=False)
    for folder in plan.folders:
        console.print(f"remove  {folder.relative_to(space.root)}", markup=False)
    console.print(f"{len(plan.runs)} run(s) and {len(plan.folders)} folder(s), {plan.size / 1e9:.2f} GB")
    if dry_run or not (plan.runs or plan.folders):
        return
    if not yes:
        typer.confirm("Remove them?", abort=True)
    with bar("removing") as (step, _):
        left = pruning.prune(space, plan, step)
    for folder in left:
        console.print(f"in use again, left: {folder.relative_to(space.root)}", markup=False)


def _workspace(path: Path | None) -> Workspace:
    from medreasoner_monai.pipeline.earlier import import_earlier
    from medreasoner_monai.pipeline.workspace import Workspace

    if path is None:
        raise InputError("give --workspace, or set MEDREASONER_WORKSPACE: the folder that the runs were made in")
    if not path.is_dir():
        raise InputError(f"there is no workspace {path}; `medreasoner run --workspace {path} …` makes one")
    space = Workspace(path)
    import_earlier(space)
    return space


def _registered(space: Workspace, config: Path | None) -> set[str]:
    from medreasoner_monai.pipeline.environment import quiet_environment
    from medreasoner_monai.pipeline.tracking import Tracking
    from medreasoner_monai.registry.promotion import registered_digests
    from medreasoner_monai.settings.loading import load_settings

    quiet_environment()
    uri = load_settings(config).tracking.mlflow_uri if config else None
    if uri is None and not (space.root / "mlflow").is_dir():
        return set()
    return registered_digests(Tracking(uri or space.mlflow_uri, "medreasoner"))


def _duration(record: RunRecord) -> str:
    from medreasoner_monai.pipeline.progress import format_seconds

    return "" if record.seconds is None else format_seconds(record.seconds)


def _figure(record: RunRecord, name: str) -> str:
    value = record.figures.get("box_iou", {}).get(name)
    return "" if value is None else f"{value:.3f}"


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _change(difference: Difference) -> str:
    return "" if difference.change is None else f"{difference.change:+.4g}"


def _table(columns: Sequence[str], rows: Iterable[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=any(columns))
    for number, column in enumerate(columns):
        # What identifies a row must be copied whole.
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # Piped to a file or a program, rows are not folded to a terminal that is not there.
    Console(width=None if sys.stdout.isatty() else 240).print(table)
