"""A bundle kept open: questions about series answered one after another by models that are loaded once."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.grounding.aggregate import Question, settle
from medreasoner_monai.grounding.asking import (
    BATCH,
    Asker,
    AskSettings,
    Carry,
    Progress,
    Slices,
    check_questions,
    parse_carry,
    parse_slices,
    slices_to_ask,
)
from medreasoner_monai.grounding.result import GroundedSeries
from medreasoner_monai.reasoners.protocol import Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter
from medreasoner_monai.task.findings import Engine, Origin, SliceResult


class Grounder:
    """A reasoner and a segmenter, ready to be asked.

    May be shared by threads: questions are answered one at a time.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        segmenter: Segmenter[Any],
        lineage: Mapping[str, Any] | None = None,
        asking: AskSettings | None = None,
    ) -> None:
        self.reasoner, self.segmenter = reasoner, segmenter
        self.lineage = dict(lineage or {})
        self.asking = asking or AskSettings()
        self._turn = threading.Lock()

    @property
    def origin(self) -> Origin:
        """What answers."""
        return origin_of(self.reasoner, self.segmenter, self.lineage)

    def ask(
        self,
        series: Series,
        questions: str | Sequence[str | Question],
        *,
        slices: Slices | str | None = None,
        carry: Carry | str | None = None,
        asking: AskSettings | None = None,
        progress: Progress | None = None,
    ) -> GroundedSeries:
        """Ask questions of a series; each picture is read and encoded once for all of them.

        Parameters
        ----------
        series:
            From :func:`~medreasoner_monai.dicom.series.choose_series`.
        questions:
            One finding each; equal ones are asked once.
        slices, carry:
            See :class:`AskSettings`; what is not given is the bundle's.
        asking:
            All of it, in place of the bundle's.

        Raises
        ------
        InputError
            If a question is empty or too long, or there is no such slice.
        DicomError
            If a slice cannot be decoded.
        """
        wanted = asking or self.asking
        if slices is not None or carry is not None:
            wanted = AskSettings(
                wanted.slices if slices is None else parse_slices(slices),
                wanted.carry if carry is None else parse_carry(carry),
                wanted.answers,
                wanted.temperature,
                wanted.threshold,
                wanted.seed,
            )
        asked = checked(questions)
        with self._turn:
            return self._ask(series, asked, wanted, progress)

    def _ask(
        self, series: Series, questions: Sequence[Question], asking: AskSettings, progress: Progress | None
    ) -> GroundedSeries:
        indices = slices_to_ask(series, asking.slices)
        carry = asking.wants_carrying(series, indices)
        asker = Asker(self.reasoner, self.segmenter, asking)
        texts = [q.text for q in questions]
        to_ask = len(indices) * len(texts)
        to_carry = (len(series) - 1) * len(texts) if carry else 0
        answers: dict[str, list[SliceResult]] = {text: [] for text in texts}
        pictures = max(1, BATCH // len(texts))
        for start in range(0, len(indices), pictures):
            part = indices[start : start + pictures]
            for text, result in asker.ask([render_slice(*series.load(i)) for i in part], part, texts):
                answers[text].append(result)
            if progress is not None:
                progress((start + len(part)) * len(texts), to_ask + to_carry)
        findings = []
        for number, question in enumerate(questions):
            before = to_ask + number * (len(series) - 1)

            def step(done: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, to_ask + to_carry)

            findings.append(settle(series, question, answers[question.text], self.segmenter, carry=carry, step=step))
        if progress is not None:
            progress(to_ask + to_carry, to_ask + to_carry)
        return GroundedSeries(series, tuple(findings), self.origin, tuple(indices), self.lineage)


def checked(questions: str | Sequence[str | Question]) -> list[Question]:
    """Questions with their texts checked, each once.

    Raises
    ------
    InputError
        If there is none, one is empty or too long, or a category is unknown.
    """
    given = [questions] if isinstance(questions, str) else list(questions)
    asked: dict[str, Question] = {}
    for one in given:
        question = one if isinstance(one, Question) else Question(str(one))
        (text,) = check_questions(question.text)
        question.codes()
        asked.setdefault(text, Question(text, question.category))
    if not asked:
        check_questions([])
    return list(asked.values())


def origin_of(reasoner: Reasoner, segmenter: Segmenter[Any], lineage: Mapping[str, Any]) -> Origin:
    """What answers, with what the bundle's lineage says of the model."""

    def known(name: str) -> str:
        value = str(lineage.get(name) or "")
        return "" if value == "not stated" else value

    return Origin(
        Engine(reasoner.name, reasoner.digest),
        Engine(segmenter.name, segmenter.digest),
        reasoner.prompt_digest,
        model_version=known("version"),
        reward_digest=known("reward_digest"),
        dataset_digest=known("dataset_digest"),
    )
