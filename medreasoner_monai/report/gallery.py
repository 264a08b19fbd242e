"""Cases to look at: chosen by a rule, the picture embedded, truth and answer drawn over it as vectors."""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import from_row, read_rows
from medreasoner_monai.errors import InputError, MedReasonerError
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.report.text import finite
from medreasoner_monai.segmenters.protocol import Prompt, Segmenter
from medreasoner_monai.segmenters.registry import Choice
from medreasoner_monai.task.geometry import Box, Points

WIDTH = 420
"""Pixels; wider pictures are reduced to it."""

_QUALITY = 88
_SMALL = 0.25


@dataclass(frozen=True)
class Lens:
    """A magnified square for a small target: ``(x, y, side)`` in stored pixels, and the corner it is shown in (CSS)."""

    window: tuple[float, float, float]
    corner: str


@dataclass(frozen=True)
class Case:
    """One case. Shapes are in the stored image's pixels; ``…_mask`` are SVG path data, empty where there is none.

    ``truth_box`` is None, and ``truth_points`` is empty, where the image does not show the target.
    """

    record: Record
    picture: str
    width: int
    height: int
    truth_box: tuple[float, float, float, float] | None
    truth_points: Sequence[tuple[float, float]]
    truth_mask: str
    reference: str
    answer_mask: str
    lens: Lens | None
    mask_dice: float | None


def choose(records: Sequence[Record], each: int = 3) -> dict[str, list[Record]]:
    """Cases of each kind; the same records give the same choice, in whatever order they come.

    Regions for present targets are ranked by box IoU, then by their masks' Dice, then by id. From the top, from the
    middle outwards and from the bottom, cases of categories not yet shown in that group come first. False positives are
    regions given for absent targets, false negatives present targets of which the answer is that there is nothing; one
    per category first. Failed cases are those that could not be read: one per reason, the commonest first. No case
    stands twice.

    Returns
    -------
    ``best``, ``median``, ``worst``, ``false_positive``, ``false_negative`` and ``failed``; each may hold fewer than
    ``each``, or none.
    """
    given = (r for r in records if r.answered and r.present)
    ranked = sorted(given, key=lambda r: (-_score(r), -_mask_score(r), r.id))
    middle = (len(ranked) - 1) / 2
    outwards = [ranked[i] for i in sorted(range(len(ranked)), key=lambda i: (abs(i - middle), i))]
    out: dict[str, list[Record]] = {}
    taken: set[str] = set()
    for name, order in (("best", ranked), ("median", outwards), ("worst", ranked[::-1])):
        out[name] = _varied([r for r in order if r.id not in taken], lambda r: r.category, each)
        taken |= {r.id for r in out[name]}
    by_id = sorted(records, key=lambda r: r.id)
    alarms = [r for r in by_id if r.answered and not r.present]
    missed = [r for r in by_id if r.said_nothing and r.present]
    for name, order in (("false_positive", alarms), ("false_negative", missed)):
        out[name] = _varied(order, lambda r: r.category, each)
    failed = [r for r in by_id if r.unreadable]
    often = Counter(r.reason for r in failed)
    failed.sort(key=lambda r: (-often[r.reason], r.reason))
    out["failed"] = _varied(failed, lambda r: r.reason, each)
    return out


def _varied(order: Sequence[Record], label: Callable[[Record], str], each: int) -> list[Record]:
    """The first ``each`` whose label is new; where there are not so many labels, the first of the rest too."""
    seen: set[str] = set()
    fresh: list[Record] = []
    rest: list[Record] = []
    for record in order:
        (rest if label(record) in seen else fresh).append(record)
        seen.add(label(record))
    chosen = {r.id for r in (*fresh, *rest)[:each]}
    return [r for r in order if r.id in chosen]


def _score(record: Record) -> float:
    return finite(record.box_iou) or 0.0


def _mask_score(record: Record) -> float:
    values = [v for m in record.masks.values() if (v := finite(m)) is not None]
    return sum(values) / len(values) if values else 0.0


def make_cases(
    chosen: Mapping[str, Sequence[Record]], dataset_test: Path, mask_key: str | None, segmenters: Sequence[str] = ()
) -> dict[str, list[Case]]:
    """Draw chosen records.

    Parameters
    ----------
    chosen:
        By group, as :func:`choose` returns them.
    dataset_test:
        The test split (parquet) that the records were made on.
    mask_key:
        ``"<segmenter>/<prompt kind>"``: which mask to draw for an answer, or None for no mask.
    segmenters:
        The evaluation's, as its settings name them; one that is not among them is taken for an engine's name.

    Raises
    ------
    InputError
        If a record's sample is not in the split.
    """
    samples = _samples(dataset_test, {r.id for records in chosen.values() for r in records})
    segmenter = _segmenter(mask_key, segmenters)
    return {
        name: [_case(record, samples[record.id], segmenter, mask_key) for record in records]
        for name, records in chosen.items()
    }


def _samples(path: Path, wanted: set[str]) -> dict[str, Sample]:
    """Only the rows wanted are decoded: a split may hold thousands of large pictures."""
    found = {}
    for where, row in read_rows(path) if wanted else ():
        if str((row.get("extra_info") or {}).get("id") or where) in wanted:
            sample = from_row(row, where)
            found[sample.id] = sample
    if missing := sorted(wanted - found.keys()):
        raise InputError(f"{path} has no sample {missing[0]!r}; give the test split that the evaluation was made on")
    return found


def _segmenter(mask_key: str | None, texts: Sequence[str]) -> Segmenter[Any] | None:
    """The engine, or None where it is not to be had here: a report must not fail for a contour."""
    if mask_key is None:
        return None
    label = mask_key.split("/")[0]
    try:
        choices = {choice.label: choice for choice in map(Choice.read, (label, *texts))}
        return choices[label].build()
    except (MedReasonerError, ImportError):
        return None


def _case(record: Record, sample: Sample, segmenter: Segmenter[Any] | None, mask_key: str | None) -> Case:
    mask = None
    if segmenter is not None and mask_key is not None and record.bbox and record.points:
        (ax, ay), (bx, by) = record.points
        x1, y1, x2, y2 = record.bbox
        prompt = Prompt(Box(x1, y1, x2, y2, sample.frame), Points((ax, ay), (bx, by), sample.frame))
        kind = mask_key.split("/")[1]
        part = prompt.only("points" if kind == "points" else "box" if kind == "box" else "both")
        mask = segmenter.segment(segmenter.embed(sample.image), [part])[0]
    return Case(
        record=record,
        picture=picture(Image.fromarray(sample.image)),
        width=sample.frame.width,
        height=sample.frame.height,
        truth_box=None if sample.box is None else sample.box.xyxy,
        truth_points=() if sample.points is None else sample.points.xy,
        truth_mask=outline(sample.mask),
        reference=sample.trace,
        answer_mask="" if mask is None else outline(mask),
        lens=lens(sample, record.bbox),
        mask_dice=None if mask_key is None else finite(record.masks.get(mask_key)),
    )


def lens(sample: Sample, answer: Sequence[float] | None) -> Lens | None:
    """Where to look closer; None where truth and answer fill enough of the picture to be seen as they are.

    None, too, where there is neither: nothing was to be found, and nothing was.
    """
    shown = [*([sample.box.xyxy] if sample.box else []), *([answer] if answer else [])]
    if not shown:
        return None
    boxes = np.array(shown, dtype=float)
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    frame = sample.frame
    if max(right - left, bottom - top) > _SMALL * min(frame.width, frame.height):
        return None
    side = 1.35 * max(right - left, bottom - top)
    x, y = (left + right) / 2, (top + bottom) / 2
    # In the corner furthest away, where it hides least of what matters.
    across = "left: 2%" if x > frame.width / 2 else "right: 2%"
    down = "top: 2%" if y > frame.height / 2 else "bottom: 2%"
    return Lens((round(x - side / 2, 1), round(y - side / 2, 1), round(side, 1)), f"{across}; {down}")


def picture(image: Image.Image, width: int = WIDTH) -> str:
    """A ``data:`` URI of the pixels alone, at most ``width`` wide: metadata of the original stays behind."""
    pixels = Image.fromarray(np.asarray(image.convert("L" if image.mode == "L" else "RGB")))
    if pixels.width > width:
        pixels = pixels.resize((width, max(1, round(pixels.height * width / pixels.width))), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    pixels.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def outline(mask: NDArray[np.bool_]) -> str:
    """SVG path data along the border of a mask ``(rows, cols)``, in continuous pixels."""
    from skimage.measure import approximate_polygon, find_contours

    parts = []
    # Padded, so that a mask cut off by the picture's border is closed; centres of pixels lie at a half.
    for contour in find_contours(np.pad(mask, 1).astype(np.uint8), 0.5):
        line = approximate_polygon(contour, 0.3)[:, ::-1] - 0.5
        line = line.clip(0, (mask.shape[1], mask.shape[0]))
        parts.append("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in line) + "Z")
    return "".join(parts)
