"""The command that asks a packaged model. Heavy imports stand inside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.cli.bar import bar
from medreasoner_monai.errors import InputError

if TYPE_CHECKING:
    from medreasoner_monai.grounding.grounder import Grounder
    from medreasoner_monai.grounding.request import GroundingSettings
    from medreasoner_monai.grounding.result import GroundingResult
    from medreasoner_monai.grounding.worklist import Outcome
    from medreasoner_monai.reasoners.registry import Preview, ReasonerOptions

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
        typer.Option(
            help="A CSV of studies: columns dicom, question; optional id, series, slices, carry, rendering, category."
        ),
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
    rendering: Annotated[
        str | None,
        typer.Option(help="How pixel values become the picture: as-stored, ct-liver, window:CENTRE,WIDTH…"),
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="Another segmenter than the bundle's: NAME:option=value,…")
    ] = None,
    reasoner: Annotated[
        str | None,
        typer.Option(
            help="In place of the bundle's model: a model folder, a bundle, or an endpoint's URL with --model."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="The name under which the endpoint serves its model.")] = None,
    reader: Annotated[
        str | None,
        typer.Option(help="How the endpoint's answers are read: strict, strict-direct, lenient, lenient-1000."),
    ] = None,
    key_variable: Annotated[str | None, typer.Option(help="Environment variable with the endpoint's key.")] = None,
    send_pictures: Annotated[
        bool,
        typer.Option("--send-pictures", help="Allow pictures and questions to be sent from here to the endpoint."),
    ] = False,
    seg: Annotated[str, typer.Option(help="Kind of DICOM-SEG: binary, fractional or labelmap.")] = "binary",
    device: Annotated[str | None, typer.Option(help="As torch names it; default: a GPU where there is one.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show series, slices and prompt; load no model.")] = False,
) -> None:
    """Ask a packaged model about a DICOM series; answer as DICOM-SEG, structured report, pictures and JSON.

    Nothing found is an answer too: the report says so, and there is no SEG. With --batch every study of a CSV file is
    done in turn; the same command goes on where it was stopped.

    Example: medreasoner ground --bundle runs/demo/bundle --dicom ct/ --question "Which organ makes bile?" --out answer

    With an endpoint as --reasoner, pictures of the series and the questions leave this machine for its address, which
    --send-pictures must allow; segmenter and settings stay the bundle's.

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
    settings = _settings(bundle, slices, carry, answers, threshold, rendering)
    source = _Source(bundle, device, segmenter, reasoner, _options(bundle, reasoner, model, reader, key_variable))
    if batch is not None:
        _ground_batch(source, batch, out, settings, kind, dry_run=dry_run, allowed=send_pictures)
        return
    if dicom is None or not question:
        raise InputError("give both --dicom and --question")
    from medreasoner_monai.grounding.outputs import check_folder
    from medreasoner_monai.grounding.plan import check_kind
    from medreasoner_monai.grounding.study import Study, ground_study, plan_lines, plan_study, questions_with

    study = Study(dicom, questions_with(question, category or []), series)
    plan = plan_study(study, settings)  # all that can be wrong with the input, before the model is loaded
    check_kind(plan, kind)
    if dry_run or out is None:
        typer.echo("\n".join(plan_lines(plan, source.preview())))
        return
    check_folder(out)
    source.check_sending(allowed=send_pictures)
    with bar("answering") as (step, _):
        grounder = source.open()
        result, made = ground_study(
            grounder, study, out, settings=settings, series=plan.series, seg=kind, progress=step
        )
    for path in made.paths:
        typer.echo(str(path))
    for line in _finding_lines(result):
        typer.echo(line, err=True)
    typer.echo(RESEARCH_USE, err=True)


def _ground_batch(
    source: _Source,
    batch: Path,
    out: Path | None,
    settings: GroundingSettings,
    seg: Any,
    *,
    dry_run: bool,
    allowed: bool,
) -> None:
    from medreasoner_monai.dicom.opened import Opened
    from medreasoner_monai.errors import MedReasonerError
    from medreasoner_monai.grounding.study import plan_lines, plan_study
    from medreasoner_monai.grounding.worklist import TABLE, read_worklist, run_worklist

    items = read_worklist(batch, settings)
    if dry_run or out is None:
        opened = Opened()
        for item in items:
            typer.echo(f"== {item.id}")
            try:
                if item.study is None:
                    raise InputError(item.problem)
                plan = plan_study(item.study, item.settings, opened)
                typer.echo("\n".join(plan_lines(plan, source.preview())))
            except MedReasonerError as error:
                typer.echo(f"failed: {error}")
        return
    source.check_sending(allowed=allowed)
    with bar("studies") as (step, name):
        grounder = source.open()
        results = run_worklist(grounder, items, out, seg=seg, listener=_Studies(step, name))
    typer.echo(str(out / TABLE))
    for line in _outcome_lines(results):
        typer.echo(line, err=True)
    typer.echo(RESEARCH_USE, err=True)
    if any(outcome.status == "failed" for outcome in results):
        raise typer.Exit(1)


@dataclass(frozen=True)
class _Source:
    """Where the models come from: a bundle, and what takes the place of its parts."""

    bundle: Path
    device: str | None
    segmenter: str | None
    reasoner: str | None
    options: ReasonerOptions

    def preview(self) -> Preview:
        """What the reasoner would be shown; it is not loaded."""
        from medreasoner_monai.reasoners.registry import preview

        return preview(self.reasoner or str(self.bundle), self.options)

    def check_sending(self, *, allowed: bool) -> None:
        """Say where pictures go if the reasoner is an endpoint, and refuse if that was not allowed."""
        from medreasoner_monai.reasoners.registry import kind_of

        if self.reasoner is None or kind_of(self.reasoner) != "endpoint":
            return
        address = self.preview().address
        if not allowed:
            raise InputError(
                f"pictures of the series and the questions would leave this machine for {address}; "
                "add --send-pictures if they may, or leave out --reasoner to ask the bundle's own model"
            )
        typer.echo(f"pictures of the series and the questions are sent to {address}", err=True)

    def open(self) -> Grounder:
        """The models, ready to ground."""
        from medreasoner_monai.bundle.contents import Bundle
        from medreasoner_monai.reasoners.registry import build

        other = None if self.reasoner is None else build(self.reasoner, replace(self.options, device=self.device))
        return Bundle.open(self.bundle).grounder(self.device, self.segmenter, other)


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


def _settings(
    bundle: Path,
    slices: str | None,
    carry: str | None,
    answers: int | None,
    threshold: float | None,
    rendering: str | None,
) -> GroundingSettings:
    """The bundle's settings with what was given."""
    from medreasoner_monai.bundle.contents import Bundle
    from medreasoner_monai.dicom.rules import parse_rule
    from medreasoner_monai.grounding.request import parse_carry, parse_slices

    settings = Bundle.open(bundle).settings()
    if slices is not None:
        settings = replace(settings, slices=parse_slices(slices))
    if carry is not None:
        settings = replace(settings, carry=parse_carry(carry))
    if rendering is not None:
        settings = replace(settings, rendering=parse_rule(rendering))
    if answers is not None:
        settings = replace(settings, answers=answers)
    if threshold is not None:
        if settings.answers == 1:
            raise InputError("--threshold needs several answers a slice: add --answers 4, for example")
        settings = replace(settings, threshold=threshold)
    return settings


def _options(
    bundle: Path, reasoner: str | None, model: str | None, reader: str | None, key_variable: str | None
) -> ReasonerOptions:
    """How the reasoner is made; an endpoint gets the bundle's prompt."""
    from medreasoner_monai.reasoners.folder import read_note
    from medreasoner_monai.reasoners.packaged import MODEL
    from medreasoner_monai.reasoners.registry import ReasonerOptions, kind_of

    endpoint = reasoner is not None and kind_of(reasoner) == "endpoint"
    if not endpoint:
        for option, value in (("--model", model), ("--reader", reader), ("--key-variable", key_variable)):
            if value is not None:
                raise InputError(f"{option} is about an endpoint; give its URL as --reasoner, or leave {option} out")
        return ReasonerOptions()
    prompt = read_note(bundle / MODEL).get("prompt")
    return ReasonerOptions(prompt=prompt, model=model, reader=reader, key_variable=key_variable)


def _finding_lines(result: GroundingResult) -> Iterator[str]:
    """How much was marked, one line per finding; without a spacing of its slices a series has no volume."""
    for number, finding in enumerate(result.findings, 1):
        if finding.status != "found":
            yield f"{number}: {finding.status} ({finding.reason})"
            continue
        volume = result.measures[finding.tracking_uid].volume_ml
        size = f"{finding.voxels} voxels" if volume is None else f"{volume:.1f} ml"
        yield f"{number}: {size} marked in {len(finding.marked)} slice(s)" + "".join(f"; {s}" for s in finding.stops)
        yield from (f"{number}: {flag.text}" for flag in finding.flags)


def _outcome_lines(results: list[Outcome]) -> Iterator[str]:
    failed = [outcome for outcome in results if outcome.status == "failed"]
    yield f"{len(results) - len(failed)} of {len(results)} studies done"
    for outcome in failed:
        yield f"  {outcome.id}: {outcome.reason}"
