"""Have every sample answered, segment what is answered, and keep what each sample scored.

Work is done in shards of one batch; a finished shard is a file, so a killed evaluation goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.answerers import Answerer
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.evaluation.sides import target_midline
from medreasoner_monai.evaluation.surface import borders, overlap
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.reasoners.protocol import Image, Reading
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, Mask, Prompt, PromptKind
from medreasoner_monai.task import geometry as g
from medreasoner_monai.task.answer import Grounding

# Samples whose images are embedded in one go; no more than are held.
_AHEAD = 8


def evaluate(
    answerer: Answerer,
    samples: Iterable[Sample],
    total: int,
    segmenters: Mapping[str, Embeddings],
    folder: Path,
    watch: ProgressReporter,
    *,
    batch: int = 32,
    surface: bool = False,
    part: tuple[int, int] = (1, 1),
) -> list[Record] | None:
    """Records of every sample, in order.

    Parameters
    ----------
    answerer, segmenters:
        Who answers, and who turns answers into masks, by name.
    samples:
        ``total`` of them.
    folder:
        Where finished shards lie; those found there are not done again.
    surface:
        Measure the masks' borders too.
    part:
        ``(k, n)``: make only every n-th shard, from the k-th on, so that n processes can share the work.

    Returns
    -------
    None when other parts' shards are still missing.
    """
    k, n = part
    if not 1 <= k <= n:
        raise InputError(f"a part is k/n with 1 <= k <= n, got {k}/{n}")
    for name, embeddings in segmenters.items():
        if (kinds := embeddings.segmenter.prompt_kinds) != PROMPT_KINDS:
            watch.note(
                f"segmenter {name}: scored from {', '.join(kinds)} alone, which its weights were trained on; "
                "the option prompts=all scores every kind of prompt"
            )
    folder.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    missing = False
    for number, group in enumerate(_batches(samples, batch)):
        shard = folder / f"{number:06d}.json"
        if shard.is_file():
            records += [Record(**row) for row in json.loads(shard.read_text(encoding="utf-8"))]
        elif number % n == k - 1:
            done = evaluate_batch(answerer, group, segmenters, surface=surface)
            write_json(shard, [asdict(r) for r in done])
            records += done
        else:
            missing = True
            continue
        watch.step(len(records), max(total, len(records)), **_running(records))
    return None if missing else records


def _running(records: Sequence[Record]) -> dict[str, float]:
    """The mean box IoU so far, over targets that are there."""
    present = [r.box_iou for r in records if r.present]
    return {"box_iou": float(np.mean(present))} if present else {}


def evaluate_batch(
    answerer: Answerer, samples: Sequence[Sample], segmenters: Mapping[str, Embeddings], *, surface: bool = False
) -> list[Record]:
    """Records of a few samples, answered as one batch."""
    pairs = list(zip(samples, answerer.answer(samples), strict=True))
    done: list[Record] = []
    for start in range(0, len(pairs), _AHEAD):
        group = pairs[start : start + _AHEAD]
        shown = [s.image for s, r in group if s.present and isinstance(r.answer, Grounding)]
        for embeddings in segmenters.values():
            embeddings.ahead(shown)
        done += [_score(s, r, segmenters, surface) for s, r in group]
    return done


def _score(sample: Sample, reading: Reading, segmenters: Mapping[str, Embeddings], surface: bool) -> Record:
    answer = reading.answer
    about: dict[str, Any] = {
        "id": sample.id,
        "category": sample.category,
        "supercategory": sample.supercategory,
        "modality": sample.modality,
        "question": sample.question,
        "text": reading.text,
        "seconds": round(reading.seconds, 4),
        "confidence": None if reading.confidence is None else round(reading.confidence, 5),
        "present": sample.present,
        "absent": sample.absent,
        "picture": hashlib.sha256(sample.image.tobytes()).hexdigest()[:16],
        "truth": None if sample.box is None else [round(v, 3) for v in sample.box.xyxy],
        "midline": target_midline(sample),
        "group": sample.group,
        "source": sample.origin.source if sample.origin else "",
    }
    if not isinstance(answer, Grounding):
        nothing = np.zeros_like(sample.mask)
        missed = {f"{n}/{kind}": nothing for n, e in segmenters.items() for kind in e.segmenter.prompt_kinds}
        dice, more = _agreement(missed, sample, surface) if sample.present else ({}, {})
        return Record(
            **about,
            answered=False,
            reason=str(answer.reason),
            trace="",
            bbox=None,
            points=None,
            box_iou=0.0,
            point_dice=0.0,
            masks=dice,
            more=more,
        )
    iou, point_dice, dice, more = 0.0, 0.0, {}, {}
    if sample.truth is not None:
        box, points = sample.truth
        iou = float(g.box_iou(answer.box.xyxy, box.xyxy)[0])
        point_dice = float(g.circle_dice(answer.points.xy, points.xy)[0])
        voters = reading.votes or (answer,)
        masks = {f"{n}/{k}": m for n, e in segmenters.items() for k, m in segment(e, sample.image, voters).items()}
        dice, more = _agreement(masks, sample, surface)
    return Record(
        **about,
        answered=True,
        reason="",
        trace=answer.trace or "",
        bbox=[round(v, 3) for v in answer.box.xyxy],
        points=[[round(v, 3) for v in p] for p in answer.points.xy],
        box_iou=iou,
        point_dice=point_dice,
        masks=dice,
        more=more,
    )


def segment(embeddings: Embeddings, image: Image, answers: Sequence[Grounding]) -> dict[PromptKind, Mask]:
    """A mask for each kind of prompt that the segmenter was trained on.

    Where there are several answers, the pixels that at least half of their masks mark.
    """
    kinds = embeddings.segmenter.prompt_kinds
    prompts = [Prompt(a.box, a.points).only(kind) for kind in kinds for a in answers]
    found = embeddings.segmenter.segment(embeddings.of(image), prompts)
    n = len(answers)
    return {
        kind: found[i * n] if n == 1 else np.asarray(2 * np.sum(found[i * n : (i + 1) * n], axis=0) >= n)
        for i, kind in enumerate(kinds)
    }


def _agreement(masks: Mapping[str, Any], sample: Sample, surface: bool) -> tuple[dict[str, float], dict[str, float]]:
    """Dice by mask, and the other measures by ``<measure>/<mask>``."""
    overlaps = {name: overlap(mask, sample.mask) for name, mask in masks.items()}
    more = {f"iou/{name}": o["iou"] for name, o in overlaps.items()}
    if surface and masks:
        for name, found in zip(masks, borders(list(masks.values()), sample.mask, sample.spacing), strict=True):
            more |= {f"{measure}/{name}": value for measure, value in found.items()}
    return {name: o["dice"] for name, o in overlaps.items()}, more


def _batches(samples: Iterable[Sample], size: int) -> Iterator[list[Sample]]:
    group: list[Sample] = []
    for sample in samples:
        group.append(sample)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
