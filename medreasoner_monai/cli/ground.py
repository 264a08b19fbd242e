"""The command that asks a packaged model. Heavy imports stand inside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.cli.bar import bar
from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.grounding.asking import AskSettings
    from medreasoner_monai.grounding.result import GroundedSeries
    from medreasoner_monai.grounding.worklist import Done

BundleOption = Annotated[Path, typer.Option(help="Bundle folder, such as runs/demo/bundle.")]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(ground)


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
    series: Annotated[
        str | None, typer.Option(help="Series Instance UID (its end is enough), or auto, when there are several.")
    ] = None,
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
    from medreasoner_monai.pipeline.environment import quiet_environment

    quiet_environment()
    if (batch is None) == (dicom is None and not question):
        raise InputError("give either --dicom and --question, or --batch with a worklist")
    if out is None and not dry_run:
        raise InputError("give --out, the folder for the results")
    from medreasoner_monai.dicom.seg import parse_kind

    kind = parse_kind(seg)
    asking = _asking(bundle, slices, carry, answers, threshold)
    if batch is not None:
        _ground_batch(bundle, batch, out, asking, segmenter, kind, device, dry_run)
        return
    if dicom is None or not question:
        raise InputError("give both --dicom and --question")
    from medreasoner_monai.grounding.outputs import check_folder
    from medreasoner_monai.grounding.study import Study, ground_study, plan_study, questions_with
    from medreasoner_monai.reasoners.packaged import MODEL

    study = Study(dicom, questions_with(question, category or []), series)
    plan = plan_study(bundle / MODEL, study, asking)  # all that can be wrong with the input, before the model is loaded
    if dry_run or out is None:
        typer.echo("\n".join(plan.lines()))
        return
    check_folder(out)
    with bar("answering") as (step, _):
        grounder = _open(bundle, device, segmenter)
        result, made = ground_study(grounder, study, out, asking=asking, series=plan.series, seg=kind, progress=step)
    for path in made.paths:
        typer.echo(str(path))
    for line in _told(result):
        typer.echo(line, err=True)
    typer.echo(RESEARCH_USE, err=True)


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
    from medreasoner_monai.dicom.opened import Opened
    from medreasoner_monai.errors import MedReasonerError
    from medreasoner_monai.grounding.study import plan_study
    from medreasoner_monai.grounding.worklist import TABLE, read_worklist, run_worklist
    from medreasoner_monai.reasoners.packaged import MODEL

    items = read_worklist(batch, asking)
    if dry_run or out is None:
        opened = Opened()
        for item in items:
            typer.echo(f"== {item.id}")
            try:
                if item.study is None:
                    raise InputError(item.problem)
                typer.echo("\n".join(plan_study(bundle / MODEL, item.study, item.asking, opened).lines()))
            except MedReasonerError as error:
                typer.echo(f"failed: {error}")
        return
    with bar("studies") as (step, name):
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
    from medreasoner_monai.bundle.contents import Bundle
    from medreasoner_monai.grounding.asking import parse_carry, parse_slices

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


def _open(bundle: Path, device: str | None, segmenter: str | None) -> Any:
    from medreasoner_monai.bundle.contents import Bundle

    return Bundle.open(bundle).grounder(device, segmenter)


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
