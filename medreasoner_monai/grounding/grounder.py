"""Models kept open, and the one way from a series and questions to findings: plan, answer, aggregate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from medreasoner_monai.dicom.rules import Rule
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.grounding.aggregate import aggregate
from medreasoner_monai.grounding.plan import Plan, make_plan
from medreasoner_monai.grounding.request import (
    Carry,
    GroundingSettings,
    Progress,
    Question,
    Slices,
    parse_carry,
    parse_slices,
)
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.grounding.worker import ModelWorker, WorkItem
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.reasoners.protocol import Image, Reasoner, sampler
from medreasoner_monai.segmenters.protocol import Segmenter
from medreasoner_monai.task.findings import Engine, Origin, SliceResult

Answers = Sequence[tuple[str, SliceResult]]
"""Results with the texts of their questions."""


class Grounder:
    """A reasoner and a segmenter, ready to answer questions about series. May be shared by threads.

    Requests at work at the same time take turns batch by batch, and each is answered as if it were alone.

    Parameters
    ----------
    lineage:
        What the bundle notes of the reasoner's model; empty for a reasoner from elsewhere.
    settings:
        How series are asked where a request does not say.
    """

    def __init__(
        self,
        reasoner: Reasoner,
        segmenter: Segmenter[Any],
        lineage: Mapping[str, Any] | None = None,
        settings: GroundingSettings | None = None,
    ) -> None:
        self.worker = ModelWorker(reasoner, segmenter)
        self.lineage = dict(lineage or {})
        self.settings = settings or GroundingSettings()

    def ground(
        self,
        series: Series,
        questions: str | Sequence[str | Question],
        *,
        slices: Slices | str | None = None,
        carry: Carry | str | None = None,
        settings: GroundingSettings | None = None,
        progress: Progress | None = None,
    ) -> GroundingResult:
        """Answer questions about a series; each picture is encoded once for all of them.

        Parameters
        ----------
        series:
            From :func:`~medreasoner_monai.dicom.series.choose_series`.
        questions:
            One finding each; equal ones are asked once.
        slices, carry:
            See :class:`~medreasoner_monai.grounding.request.GroundingSettings`; they override ``settings``.
        settings:
            In place of the grounder's own.

        Raises
        ------
        InputError
            If a question is empty or too long, there is no such slice, or the reasoner cannot draw several answers.
        DicomError
            If a slice cannot be decoded, or the rendering rule is not made for it.
        """
        used = settings or self.settings
        if slices is not None:
            used = replace(used, slices=parse_slices(slices))
        if carry is not None:
            used = replace(used, carry=parse_carry(carry))
        if used.answers > 1:
            sampler(self.worker.reasoner)
        plan = make_plan(series, questions, used)
        answers: list[tuple[str, SliceResult]] = []
        for part in plan.batches(plan.slices):
            views = [series.view(i, used.rendering) for i in part]
            answers += self.answer(plan, part, [view.pixels for view in views])
            if progress is not None:
                progress(len(answers), plan.steps)
        return self.aggregate(plan, answers, progress)

    def answer(self, plan: Plan, indices: Sequence[int], pictures: Sequence[Image]) -> Answers:
        """All questions about some slices, slices first.

        Parameters
        ----------
        indices:
            Slice numbers.
        pictures:
            The slices as the plan's rule renders them: uint8, ``(rows, columns)`` or ``(rows, columns, 3)``.
        """
        by_index = dict(zip(indices, pictures, strict=True))
        answers: list[tuple[str, SliceResult]] = []
        for part in plan.batches(indices):
            turned = {i: plan.series.orientation(i) for i in part}
            items = [WorkItem(by_index[i], i, q.text, turned[i]) for i in part for q in plan.questions]
            results = self.worker.answer(items, plan.settings)
            answers += [(item.question, result) for item, result in zip(items, results, strict=True)]
        return answers

    def aggregate(self, plan: Plan, answers: Answers, progress: Progress | None = None) -> GroundingResult:
        """Findings from the answers on all asked slices: the key slice of each question, carried on where planned.

        Raises
        ------
        InputError
            If a question was not answered on any slice.
        DicomError
            If a slice that the mask is carried to cannot be decoded.
        """
        findings = []
        for number, question in enumerate(plan.questions):
            before = plan.asked_steps + number * plan.carried_steps

            def step(done: int, before: int = before) -> None:
                if progress is not None:
                    progress(before + done, plan.steps)

            results = [result for text, result in answers if text == question.text]
            findings.append(aggregate(plan, question, results, self.worker, step))
        if progress is not None:
            progress(plan.steps, plan.steps)
        rendering = plan.settings.rendering
        origin = self.origin(rendering, plan.settings.applied_calibration)
        return GroundingResult(plan.series, tuple(findings), origin, plan.slices, self.lineage, rendering)

    def origin(self, rendering: Rule, calibration: Calibration | None = None) -> Origin:
        """What answers: engines, prompt, rendering rule, calibration, and what the lineage says of the model."""

        def noted(name: str) -> str:
            value = str(self.lineage.get(name) or "")
            return "" if value == "not stated" else value

        reasoner, segmenter = self.worker.reasoner, self.worker.segmenter
        return Origin(
            Engine(reasoner.name, reasoner.digest),
            Engine(segmenter.name, segmenter.digest),
            reasoner.prompt_digest,
            model_version=noted("version"),
            reward_digest=noted("reward_digest"),
            dataset_digest=noted("dataset_digest"),
            rendering_digest=rendering.digest,
            more={} if calibration is None else {"calibration": calibration.digest},
        )
