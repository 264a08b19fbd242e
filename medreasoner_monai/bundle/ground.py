"""A series and a question in, an answer with a mask out: what the bundle run and ``medreasoner ground`` share."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medreasoner_monai.answer import Grounding
from medreasoner_monai.bundle.contents import Bundle
from medreasoner_monai.bundle.outputs import Outputs, check_folder, write_outputs
from medreasoner_monai.bundle.result import NO_REGION, Engine, GroundedSeries, NoFindingError, SliceResult, Slices
from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.geometry import Frame
from medreasoner_monai.prompts import check_question
from medreasoner_monai.reasoners.protocol import Image, Reading, Reasoner
from medreasoner_monai.segmenters.protocol import Prompt, Segmenter

ALL_UP_TO = 16
"""With ``auto``, a series of at most this many slices is asked slice by slice, a longer one on its middle slice."""
BATCH = 4

Progress = Callable[[int, int], None]
"""Called with the number of slices answered and the number to answer."""


def ground_series(
    series: Series,
    question: str,
    reasoner: Reasoner,
    segmenter: Segmenter[Any],
    *,
    slices: Slices = "auto",
    progress: Progress | None = None,
) -> GroundedSeries:
    """Ask a question of a series.

    Parameters
    ----------
    series:
        From :func:`~medreasoner_monai.dicom.series.choose_series`.
    question:
        Asked of every slice that ``slices`` names.
    slices:
        A slice counted from 0, ``"all"``, or ``"auto"`` (see :data:`ALL_UP_TO`).

    Raises
    ------
    InputError
        If the question is empty or too long, or there is no such slice.
    DicomError
        If a slice cannot be decoded.
    NoFindingError
        If no slice has a readable answer with a mask that is not empty.
    """
    question = check_question(question)
    indices = slices_to_ask(series, slices)
    results: list[SliceResult] = []
    for start in range(0, len(indices), BATCH):
        batch = indices[start : start + BATCH]
        images = [render_slice(*series.load(i)) for i in batch]
        readings = reasoner.ground(images, [question] * len(batch))
        results += mark_slices(images, batch, readings, segmenter)
        if progress is not None:
            progress(len(results), len(indices))
    return assemble(series, question, results, reasoner, segmenter)


def parse_slices(value: str | int) -> Slices:
    """The ``slices`` option as a person types it.

    >>> parse_slices("auto"), parse_slices("2")
    ('auto', 2)

    Raises
    ------
    InputError
        If it is neither ``auto``, ``all`` nor a whole number of at least 0.
    """
    text = str(value).strip().lower()
    if text == "auto":
        return "auto"
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise InputError(f"slices must be auto, all, or a slice number counted from 0; got {value!r}")


def slices_to_ask(series: Series, slices: Slices) -> list[int]:
    """Slice numbers, counted from 0 in series order.

    Raises
    ------
    InputError
        If there is no such slice.
    """
    count = len(series)
    if slices == "all" or (slices == "auto" and count <= ALL_UP_TO):
        return list(range(count))
    if slices == "auto":
        return [count // 2]
    if not 0 <= slices < count:
        raise InputError(f"slice {slices} is asked for, but the series has {count}, counted from 0 to {count - 1}")
    return [slices]


def mark_slices(
    images: Sequence[Image], indices: Sequence[int], readings: Sequence[Reading], segmenter: Segmenter[Any]
) -> list[SliceResult]:
    """Turn readings into masks: one :class:`SliceResult` an image, in order.

    Parameters
    ----------
    images:
        uint8, ``(rows, columns)`` or ``(rows, columns, 3)``.
    indices:
        Their slice numbers.
    readings:
        What the reasoner made of each, in the images' own frame.
    """
    results = []
    for image, index, reading in zip(images, indices, readings, strict=True):
        if not isinstance(reading.answer, Grounding):
            results.append(SliceResult(index, None, str(reading.answer.reason), None, reading.seconds))
            continue
        started = time.perf_counter()
        grounding = reading.answer.to(Frame(image.shape[1], image.shape[0], "dicom"))
        prompt = Prompt(box=grounding.box, points=grounding.points)
        mask = segmenter.segment(segmenter.embed(image), [prompt])[0]
        seconds = reading.seconds + time.perf_counter() - started
        results.append(SliceResult(index, grounding, "" if mask.any() else "empty mask", mask, seconds))
    return results


def assemble(
    series: Series, question: str, results: Sequence[SliceResult], reasoner: Reasoner, segmenter: Segmenter[Any]
) -> GroundedSeries:
    """Put the answers of single slices together.

    Raises
    ------
    NoFindingError
        If no slice has a marked pixel.
    """
    if not any(r.voxels for r in results):
        reasons = ", ".join(f"{reason} ({count})" for reason, count in Counter(r.reason for r in results).most_common())
        raise NoFindingError(
            f"{NO_REGION} in {len(results)} of {len(series)} slice(s): {reasons}. Nothing was written. "
            "Ask other slices (slices all, or a number), ask about something that is in the picture, or use a "
            "model that was trained on such images"
        )
    return GroundedSeries(
        series,
        question,
        tuple(results),
        Engine(reasoner.name, reasoner.digest),
        reasoner.prompt_digest,
        Engine(segmenter.name, segmenter.digest),
    )


def ground_cli(
    bundle: Path,
    dicom: Path,
    question: str,
    out: Path,
    series_uid: str | None = None,
    slices: str | int = "auto",
    *,
    device: str | None = None,
    progress: Progress | None = None,
) -> Outputs:
    """What ``medreasoner ground`` does: open the bundle, ask, write.

    Everything that can be wrong with the input is looked at before the model is loaded.

    Returns
    -------
    The paths written.

    Raises
    ------
    InputError, DicomError, ArtifactError, NoFindingError
        See :func:`ground_series`, :func:`~medreasoner_monai.dicom.series.choose_series` and :class:`Bundle`.
    """
    question = check_question(question)
    wanted = parse_slices(slices)
    check_folder(out)
    opened = Bundle.open(bundle)
    series = choose_series(dicom, series_uid)
    slices_to_ask(series, wanted)
    result = ground_series(
        series, question, opened.reasoner(device), opened.segmenter(), slices=wanted, progress=progress
    )
    return write_outputs(result, out, opened.lineage)
