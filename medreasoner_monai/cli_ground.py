"""The commands around a finished model: package it, verify the bundle, ask it. Heavy imports stand inside them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.bundle.asking import AskSettings
    from medreasoner_monai.bundle.grounder import GroundedSeries
    from medreasoner_monai.bundle.worklist import Done

BundleOption = Annotated[Path, typer.Option(help="Bundle folder, such as runs/demo/bundle.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(ground)
    app.command()(package)
    bundles = typer.Typer(help="Look after a packaged bundle.", no_args_is_help=True)
    bundles.command()(verify)
    app.add_typer(bundles, name="bundle")


def ground(
    bundle: BundleOption,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; not needed with --dry-run.")] = None,
    dicom: Annotated[Path | None, typer.Option(help="Series: a folder, file, zip or DICOMDIR.")] = None,
    question: Annotated[
        list[str] | None, typer.Option(help="What to look for. May be repeated: one finding each.")
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="What each region is, for its codes, such as liver; as many as questions, in their order."),
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(help="A CSV of studies: columns dicom, question; optional id, series, slices, carry, category."),
    ] = None,
    series: Annotated[str | None, typer.Option(help="Series Instance UID, when there are several.")] = None,
    slices: Annotated[str | None, typer.Option(help="auto, all, or the key slice counted from 0.")] = None,
    carry: Annotated[
        str | None, typer.Option(help="auto, on or off: carry the key slice's mask through the series.")
    ] = None,
    answers: Annotated[
        int | None, typer.Option(min=1, help="Ask each slice this often; from 2 on there is a confidence.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="Withhold answers of less confidence; needs --answers.")
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Another segmenter than the bundle's: NAME:option=value,…")
    ] = None,
    seg: Annotated[str, typer.Option(help="Kind of DICOM-SEG: binary, fractional or labelmap.")] = "binary",
    device: Annotated[str | None, typer.Option(help="As torch names it; default: a GPU where there is one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show series, slices and prompt; load no model.")] = False,
) -> None:
    """Ask a packaged model about a DICOM series; answer as DICOM-SEG, structured report, pictures and JSON.

    Nothing found is an answer too: the report says so, and there is no SEG. With --batch every study of a CSV file is
    done in turn; the same command goes on where it was stopped.

    Example: medreasoner ground --bundle runs/demo/bundle --dicom ct/ --question "Which organ makes bile?" --out answer

    Example: medreasoner ground --bundle runs/demo/bundle --batch worklist.csv --out answers
    """
    from medreasoner_monai.orchestration import quiet_environment

    quiet_environment()
    if (batch is None) == (dicom is None and not question):
        raise InputError("give either --dicom and --question, or --batch with a worklist")
    if out is None and not dry_run:
        raise InputError("give --out, the folder for the results")
    asking = _asking(bundle, slices, carry, answers, threshold)
    if batch is not None:
        _ground_batch(bundle, batch, out, asking, segmenter, _kind(seg), device, dry_run)
        return
    if dicom is None or not question:
        raise InputError("give both --dicom and --question")
    from medreasoner_monai.bundle.ground import Study, ground_study, plan_study, questions_with
    from medreasoner_monai.bundle.outputs import check_folder

    study = Study(dicom, questions_with(question, category or []), series)
    plan = plan_study(bundle, study, asking)  # all that can be wrong with the input, before the model is loaded
    if dry_run or out is None:
        typer.echo("\n".join(plan.lines()))
        return
    check_folder(out)
    kind = _kind(seg)
    with _bar("answering") as (step, _):
        grounder = _open(bundle, device, segmenter)
        result, made = ground_study(grounder, study, out, asking=asking, seg=kind, progress=step)
    for path in made.paths:
        typer.echo(str(path))
    for line in _told(result):
        typer.echo(line, err=True)
    typer.echo(RESEARCH_USE, err=True)


def package(
    model: Annotated[Path, typer.Option(help="Merged model folder, as `medreasoner merge` makes it.")],
    out: Annotated[Path, typer.Option(help="Folder to write the bundle to: new or empty.")],
    evaluation: Annotated[
        Path | None, typer.Option(help="Evaluation folder, whose figures and intervals go into the model card.")
    ] = None,
    segmenter: Annotated[
        str, typer.Option(help="NAME:option=value,…; its weights are copied into the bundle.")
    ] = "classical",
    version: Annotated[str | None, typer.Option(help="Version of the bundle; default: the package's.")] = None,
    changes: Annotated[str, typer.Option(help="What is new in it, for the changelog.")] = "first version",
    trained_on: Annotated[str, typer.Option(help="What it was trained on, in a sentence.")] = "not stated",
    dataset_digest: Annotated[str, typer.Option(help="sha256 of the training data.")] = "not stated",
    reward_digest: Annotated[str, typer.Option(help="sha256 of the reward settings.")] = "not stated",
    limit: Annotated[list[str] | None, typer.Option(help="A known limit for the card. May be repeated.")] = None,
    large_files_url: Annotated[str, typer.Option(help="Where files over 25 MB will be published.")] = "",
) -> None:
    """Fill the MONAI bundle from a merged model, and verify it.

    Example: medreasoner package --model merged --evaluation run1 --out medreasoner_grounding
    """
    from medreasoner_monai.bundle.packaging import evaluation_facts, package_bundle
    from medreasoner_monai.orchestration import quiet_environment

    quiet_environment()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} is there already; give a new or empty folder")
    facts: dict[str, Any] = {
        "changes": changes,
        "trained_on": trained_on,
        "dataset_digest": dataset_digest,
        "reward_digest": reward_digest,
        "limits": limit or [],
        "large_files_url": large_files_url,
        **({"version": version} if version else {}),
        **(evaluation_facts(evaluation) if evaluation else {}),
    }
    partial = out.with_name(f".{out.name}.partial")
    package_bundle(model, partial, facts, segmenter=segmenter)
    if out.is_dir():
        out.rmdir()
    partial.replace(out)
    typer.echo(str(out))
    typer.echo(f"check it with: medreasoner bundle verify {out}", err=True)


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    schema: Annotated[
        Path | None, typer.Option(help="MONAI's metadata schema (JSON), for its own verify_metadata as well.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="Files and metadata alone; run no model.")] = False,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Check a bundle, offline: files and digests, metadata, configs, the network's input and output, a run on a CT.

    Exit code 1 when a check fails. A bundle's configs are code, and they are run unless --quick is given: verify
    bundles that you trust.

    Example: medreasoner bundle verify runs/demo/bundle
    """
    from rich.console import Console

    from medreasoner_monai.orchestration import quiet_environment

    quiet_environment()
    # MONAI logs to stdout, which is for the result alone.
    with redirect_stdout(sys.stderr), _bar("checking") as (step, _):
        from medreasoner_monai.bundle.verify import render, verify_bundle

        checks = verify_bundle(bundle, schema=schema, quick=quick, progress=step)
    if json_:
        typer.echo(json.dumps([vars(c) for c in checks], indent=2))
    else:
        Console().print(render(checks))
    raise typer.Exit(1 if any(c.state == "failed" for c in checks) else 0)


def _ground_batch(
    bundle: Path,
    batch: Path,
    out: Path | None,
    asking: AskSettings,
    segmenter: str | None,
    seg: Any,
    device: str | None,
    dry_run: bool,
) -> None:
    from medreasoner_monai.bundle.ground import plan_study
    from medreasoner_monai.bundle.worklist import TABLE, read_worklist, run_worklist
    from medreasoner_monai.errors import MedReasonerError

    items = read_worklist(batch, asking)
    if dry_run or out is None:
        for item in items:
            typer.echo(f"== {item.id}")
            try:
                if item.study is None:
                    raise InputError(item.problem)
                typer.echo("\n".join(plan_study(bundle, item.study, item.asking).lines()))
            except MedReasonerError as error:
                typer.echo(f"failed   {error}")
        return
    with _bar("studies") as (step, name):
        grounder = _open(bundle, device, segmenter)
        results = run_worklist(grounder, items, out, seg=seg, listener=_Studies(step, name))
    typer.echo(str(out / TABLE))
    for line in _summary(results):
        typer.echo(line, err=True)
    typer.echo(RESEARCH_USE, err=True)
    if any(done.status == "failed" for done in results):
        raise typer.Exit(1)


class _Studies:
    """Shows which study is at work; a study's own steps move the bar within its share."""

    def __init__(self, step: Any, name: Any) -> None:
        self._step, self._name, self.at, self.total = step, name, 1, 1

    def study(self, number: int, total: int, id_: str) -> None:
        self.at, self.total = number, total
        self._name(f"study {number} of {total}: {id_}")
        self._step(100 * (number - 1), 100 * total)

    def step(self, done: int, total: int) -> None:
        self._step(100 * (self.at - 1) + round(100 * done / max(total, 1)), 100 * self.total)


def _asking(
    bundle: Path, slices: str | None, carry: str | None, answers: int | None, threshold: float | None
) -> AskSettings:
    from medreasoner_monai.bundle.asking import parse_carry, parse_slices
    from medreasoner_monai.bundle.contents import Bundle

    asking = Bundle.open(bundle).asking()
    if slices is not None:
        asking = replace(asking, slices=parse_slices(slices))
    if carry is not None:
        asking = replace(asking, carry=parse_carry(carry))
    if answers is not None:
        asking = replace(asking, answers=answers)
    if threshold is not None:
        if asking.answers == 1:
            raise InputError("--threshold needs several answers a slice: add --answers 4, for example")
        asking = replace(asking, threshold=threshold)
    return asking


def _kind(text: str) -> Any:
    if text not in ("binary", "fractional", "labelmap"):
        raise InputError(f"--seg must be binary, fractional or labelmap; got {text!r}")
    return text


def _open(bundle: Path, device: str | None, segmenter: str | None) -> Any:
    from medreasoner_monai.bundle.grounder import Grounder

    return Grounder.open(bundle, device, segmenter)


def _told(result: GroundedSeries) -> Iterator[str]:
    """How much was marked, a line a finding; without a spacing of its slices a series has no volume."""
    from medreasoner_monai.dicom.measures import measure

    for number, finding in enumerate(result.findings, 1):
        if finding.status != "found":
            yield f"{number}: {finding.status} ({finding.reason})"
            continue
        volume = measure(result.series, finding).volume_ml
        size = f"{finding.voxels} voxels" if volume is None else f"{volume:.1f} ml"
        yield f"{number}: {size} marked in {len(finding.marked)} slice(s)" + "".join(f"; {s}" for s in finding.stops)


def _summary(results: list[Done]) -> Iterator[str]:
    failed = [done for done in results if done.status == "failed"]
    yield f"{len(results) - len(failed)} of {len(results)} studies done"
    for done in failed:
        yield f"  {done.id}: {done.reason}"


@contextmanager
def _bar(title: str) -> Iterator[tuple[Any, Any]]:
    """A bar on stderr: what moves it, and what renames it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=None)
        yield (
            lambda done, total: progress.update(task, completed=done, total=total),
            lambda name: progress.update(task, description=name),
        )
