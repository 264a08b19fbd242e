"""One study: a DICOM series and its questions in, the files of the answer out. What ``medreasoner ground`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.aggregate import Question
from medreasoner_monai.grounding.asking import AskSettings, Progress, slices_to_ask
from medreasoner_monai.grounding.outputs import Outputs, check_folder, write_outputs
from medreasoner_monai.grounding.result import GroundedSeries
from medreasoner_monai.grounding.session import Grounder, checked
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


@dataclass(frozen=True)
class Plan:
    """What would be done: the series, the slices asked, and whether the mask is carried on."""

    model: Path
    questions: tuple[Question, ...]
    series: Series
    slices: tuple[int, ...]
    carry: bool

    def lines(self) -> list[str]:
        """For a terminal, with what the model would be told and the size it would see; its weights are not loaded."""
        from medreasoner_monai.reasoners.folder import load_processor, read_note, seen_frame
        from medreasoner_monai.task.prompts import template

        chosen = template(read_note(self.model).get("prompt", "think"))
        told = [f"[{m['role']}] {m['content']}" for q in self.questions for m in chosen.plain(q.text)]
        _, rows, columns = self.series.shape
        seen = seen_frame(load_processor(self.model), Frame(columns, rows))
        slices = ", ".join(str(i) for i in self.slices)
        rest = len(self.series) - len(self.slices)
        return [
            *self.series.explain().splitlines(),
            f"asked: slice {slices} (counted from 0, {len(self.series)} in all)",
            f"carried: {'through the other ' + str(rest) if self.carry else 'nowhere'}",
            f"seen as: {seen.width} x {seen.height} pixels",
            *(f"prompt: {line}" for text in told for line in text.splitlines()),
        ]


def plan_study(model: Path, study: Study, asking: AskSettings, opened: Opened | None = None) -> Plan:
    """Look at everything that can be wrong with the input, without loading the model.

    Parameters
    ----------
    model:
        The model folder, whose prompt and picture size are shown.
    opened:
        Where several studies are planned: their headers are read once.

    Raises
    ------
    InputError, DicomError
        As :meth:`Grounder.ask` and :func:`~medreasoner_monai.dicom.series.choose_series`.
    """
    questions = checked(study.questions)
    series = (opened or Opened()).open(study.dicom).choose(study.series)
    slices = slices_to_ask(series, asking.slices)
    return Plan(model, tuple(questions), series, tuple(slices), asking.wants_carrying(series, slices))


def ground_study(
    grounder: Grounder,
    study: Study,
    out: Path,
    *,
    asking: AskSettings | None = None,
    series: Series | None = None,
    seg: SegKind = "binary",
    progress: Progress | None = None,
) -> tuple[GroundedSeries, Outputs]:
    """Ask and write.

    Parameters
    ----------
    out:
        Folder for the results, made if absent.
    asking:
        In place of the bundle's.
    series:
        The study's, where it was read already.

    Raises
    ------
    InputError, DicomError
        See :meth:`Grounder.ask`, :func:`~medreasoner_monai.dicom.series.choose_series` and :func:`write_outputs`.
    """
    check_folder(out)
    series = choose_series(study.dicom, study.series) if series is None else series
    result = grounder.ask(series, study.questions, asking=asking, progress=progress)
    return result, write_outputs(result, out, seg=seg)


def questions_with(texts: Sequence[str], categories: Sequence[str]) -> tuple[Question, ...]:
    """Questions and, where any are given, a category for each in the same order.

    Raises
    ------
    InputError
        If there are categories, but not one a question; if one is unknown, or a question cannot be asked.
    """
    if categories and len(categories) != len(texts):
        raise InputError(f"{len(texts)} question(s) and {len(categories)} categories are given; give one a question")
    names: Sequence[str | None] = categories or [None] * len(texts)
    return tuple(checked([Question(text, name or None) for text, name in zip(texts, names, strict=True)]))
