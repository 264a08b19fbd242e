"""From the answers of single slices to a finding: the key slice, the mask carried on from it, and what it is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydicom.uid import generate_uid

from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.naming import with_name
from medreasoner_monai.grounding.placing import stored_mask, viewed_answer, viewed_mask
from medreasoner_monai.grounding.plan import Plan
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.grounding.sides import with_sides_checked
from medreasoner_monai.grounding.worker import ModelWorker
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.task.findings import ConfidenceKind, Finding, SliceResult
from medreasoner_monai.task.geometry import box_iou


def aggregate(
    plan: Plan,
    question: Question,
    results: Sequence[SliceResult],
    worker: ModelWorker,
    step: Callable[[int], None] = lambda _: None,
) -> Finding:
    """The finding that a question's answers make.

    Where the plan carries, the key slice's mask alone is kept of them and carried through the series; otherwise all
    masks are kept.

    Parameters
    ----------
    results:
        The question's answers on the asked slices.
    worker:
        Carries the mask.
    step:
        Called with the number of slices carried to so far.

    Raises
    ------
    InputError
        If there is no answer at all.
    DicomError
        If a slice on the way cannot be decoded.
    """
    if not results:
        raise InputError("no slice was asked")
    series = plan.series
    ordered = sorted(results, key=lambda r: r.index)
    shown = max(ordered, key=score)
    stops: tuple[str, ...] = ()
    candidates: tuple[SliceResult, ...] = ()
    if plan.carry and shown.mask is not None and shown.voxels and shown.grounding is not None:
        # The segmenter follows what it sees: views, all of them turned alike.
        turned = series.orientation(shown.index)
        mask = viewed_mask(shown.mask, turned)
        rows, columns = mask.shape
        answer = viewed_answer(shown.grounding, turned, (rows, columns))
        carried = worker.carry(
            lambda i: series.view(i, plan.settings.rendering).pixels,
            len(series),
            shown.index,
            Prompt(answer.box, answer.points),
            mask,
            step,
        )
        candidates, ordered = tuple(ordered), [shown]
        ordered += [
            SliceResult(c.index, None, "", stored_mask(c.mask, turned), 0.0, c.confidence, carried=True)
            for c in carried.slices
        ]
        ordered.sort(key=lambda r: r.index)
        stops = carried.stops
    uid = str(generate_uid(prefix=None))
    finding = Finding(
        question.text,
        tuple(ordered),
        shown.index,
        uid,
        stops=stops,
        candidates=candidates,
        confidence_kind=_kind(plan, shown),
    )
    return with_sides_checked(series, with_name(series, question, finding))


def _kind(plan: Plan, shown: SliceResult) -> ConfidenceKind:
    """Calibrated is the confidence in a region, given or withheld; that in its absence is a share of votes."""
    if shown.confidence is None:
        return ""
    region = shown.grounding is not None or shown.unsure
    return "calibrated" if region and plan.settings.applied_calibration is not None else "agreement"


def score(result: SliceResult) -> tuple[float, float, int, int]:
    """What candidates are ranked by, the first part first.

    Agreement of the answers, where several were drawn; how well the mask fits the box that it was prompted with (their
    IoU); the mask's size; the lowest number. A box around nothing makes a mask that fills it badly, or runs out of it.
    """
    if not result.voxels or result.mask is None or result.grounding is None:
        return (-1.0, 0.0, 0, -result.index)
    confidence = 0.0 if result.confidence is None else result.confidence
    return (confidence, round(_fit(result), 3), result.voxels, -result.index)


def _fit(result: SliceResult) -> float:
    assert result.mask is not None and result.grounding is not None
    rows, columns = np.flatnonzero(result.mask.any(axis=1)), np.flatnonzero(result.mask.any(axis=0))
    around = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return float(box_iou(around, result.grounding.box.xyxy)[0])
