"""One study: a DICOM series and its questions in, the files of the answer out. What ``medreasoner ground`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import Outputs, check_folder, write_outputs
from medreasoner_monai.grounding.plan import Plan, check_kind, make_plan
from medreasoner_monai.grounding.request import GroundingSettings, Progress, Question, check_questions
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.reasoners.registry import Preview
from medreasoner_monai.task.geometry import Frame


@dataclass(frozen=True)
class Study:
    """What is asked of what.

    Attributes
    ----------
    dicom:
        A folder, file, zip or DICOMDIR.
    questions:
        One finding each.
    series:
        Series Instance UID or the end of it, when there are several.
    """

    dicom: Path
    questions: tuple[Question, ...]
    series: str | None = None


def plan_study(study: Study, settings: GroundingSettings, opened: Opened | None = None) -> Plan:
    """What would be done; everything that can be wrong with the input shows here, without a model.

    Parameters
    ----------
    opened:
        Where several studies are planned: their headers are read once.

    Raises
    ------
    InputError, DicomError
        As :func:`~medreasoner_monai.grounding.plan.make_plan` and
        :func:`~medreasoner_monai.dicom.series.choose_series`.
    """
    series = (opened or Opened()).open(study.dicom).choose(study.series)
    return make_plan(series, study.questions, settings)


def plan_lines(plan: Plan, preview: Preview) -> list[str]:
    """A plan for a terminal, with the prompt that the reasoner would get and the size of the pictures it would see."""
    _, rows, columns = plan.series.shape
    seen = preview.seen_frame(Frame(columns, rows))
    slices = ", ".join(str(i) for i in plan.slices)
    rest = len(plan.series) - len(plan.slices)
    messages = [f"[{m['role']}] {m['content']}" for q in plan.questions for m in preview.prompt.plain(q.text)]
    return [
        *plan.series.explain().splitlines(),
        f"asked: slice {slices} (counted from 0, {len(plan.series)} in all)",
        f"carried: {'through the other ' + str(rest) if plan.carry else 'nowhere'}",
        f"rendered: {plan.settings.rendering.name}",
        *([f"sent to: {preview.address}, which gets these pictures and questions"] if preview.address else []),
        f"seen as: {seen.width} x {seen.height} pixels",
        *(f"prompt: {line}" for text in messages for line in text.splitlines()),
    ]


def ground_study(
    grounder: Grounder,
    study: Study,
    out: Path,
    *,
    settings: GroundingSettings | None = None,
    series: Series | None = None,
    seg: SegKind = "binary",
    progress: Progress | None = None,
) -> tuple[GroundingResult, Outputs]:
    """Answer a study's questions and write the outputs.

    Parameters
    ----------
    out:
        Folder for the results, made if absent.
    settings:
        In place of the grounder's.
    series:
        The study's, if it was read already.

    Raises
    ------
    InputError, DicomError
        See :meth:`Grounder.ground`, :func:`~medreasoner_monai.dicom.series.choose_series` and :func:`write_outputs`.
    """
    check_folder(out)
    series = choose_series(study.dicom, study.series) if series is None else series
    check_kind(make_plan(series, study.questions, settings or grounder.settings), seg)
    result = grounder.ground(series, study.questions, settings=settings, progress=progress)
    return result, write_outputs(result, out, seg=seg)


def questions_with(texts: Sequence[str], categories: Sequence[str]) -> tuple[Question, ...]:
    """Questions and, where any are given, a category for each in the same order.

    Raises
    ------
    InputError
        If there are categories, but not one per question; if one is unknown, or a question cannot be asked.
    """
    if categories and len(categories) != len(texts):
        raise InputError(f"{len(texts)} question(s) and {len(categories)} categories are given; give one per question")
    names: Sequence[str | None] = categories or [None] * len(texts)
    return check_questions([Question(text, name or None) for text, name in zip(texts, names, strict=True)])
