"""Ask a reasoner every question of a split, segment what it answers, and keep what each sample scored.

Work is done in shards of one batch; a finished shard is a file, so a killed evaluation goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from medreasoner_monai import geometry as g
from medreasoner_monai.answer import Grounding
from medreasoner_monai.artifacts import write_json
from medreasoner_monai.data.schema import Sample, read_split
from medreasoner_monai.evaluation.records import PROMPT_KINDS, Record
from medreasoner_monai.reasoners.protocol import Image, Reading, Reasoner
from medreasoner_monai.segmenters.protocol import Mask, Prompt, Segmenter
from medreasoner_monai.watch import Watch


def evaluate(
    reasoner: Reasoner,
    split: Path,
    total: int,
    segmenters: Mapping[str, Segmenter[Any]],
    folder: Path,
    watch: Watch,
    *,
    batch: int = 32,
    blank: bool = False,
) -> list[Record]:
    """Records of every sample in the split, in its order.

    Parameters
    ----------
    reasoner, segmenters:
        Who answers, and who turns answers into masks, by name.
    split:
        A curated parquet file of ``total`` samples.
    folder:
        Where finished shards lie; those found there are not done again.
    blank:
        Show the reasoner a black picture in place of each image: what the question alone gives away.
    """
    folder.mkdir(parents=True, exist_ok=True)
    records: list[Record] = []
    for number, samples in enumerate(_batches(split, batch)):
        shard = folder / f"{number:06d}.json"
        if shard.is_file():
            records += [Record(**row) for row in json.loads(shard.read_text(encoding="utf-8"))]
        else:
            done = evaluate_batch(reasoner, samples, segmenters, blank=blank)
            write_json(shard, [asdict(r) for r in done])
            records += done
        watch.step(len(records), total, box_iou=float(np.mean([r.box_iou for r in records])))
    return records


def evaluate_batch(
    reasoner: Reasoner, samples: Sequence[Sample], segmenters: Mapping[str, Segmenter[Any]], *, blank: bool = False
) -> list[Record]:
    """Records of a few samples, answered as one batch."""
    images: list[Image] = [np.zeros_like(s.image) if blank else s.image for s in samples]
    readings = reasoner.ground(images, [s.question for s in samples])
    return [_score(s, r, segmenters) for s, r in zip(samples, readings, strict=True)]


def _score(sample: Sample, reading: Reading, segmenters: Mapping[str, Segmenter[Any]]) -> Record:
    answer = reading.answer
    about: dict[str, Any] = {
        "id": sample.id,
        "category": sample.category,
        "supercategory": sample.supercategory,
        "modality": sample.modality,
        "question": sample.question,
        "text": reading.text,
        "seconds": round(reading.seconds, 4),
    }
    if not isinstance(answer, Grounding):
        return Record(
            **about,
            answered=False,
            reason=str(answer.reason),
            trace="",
            bbox=None,
            points=None,
            box_iou=0.0,
            point_dice=0.0,
            masks={f"{name}/{kind}": 0.0 for name in segmenters for kind in PROMPT_KINDS},
        )
    return Record(
        **about,
        answered=True,
        reason="",
        trace=answer.trace or "",
        bbox=[round(v, 3) for v in answer.box.xyxy],
        points=[[round(v, 3) for v in p] for p in answer.points.xy],
        box_iou=float(g.box_iou(answer.box.xyxy, sample.box.xyxy)[0]),
        point_dice=float(g.circle_dice(answer.points.xy, sample.points.xy)[0]),
        masks=_masks(sample, Prompt(answer.box, answer.points), segmenters),
    )


def _masks(sample: Sample, prompt: Prompt, segmenters: Mapping[str, Segmenter[Any]]) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, segmenter in segmenters.items():
        masks = segmenter.segment(segmenter.embed(sample.image), [prompt.only(kind) for kind in PROMPT_KINDS])
        out |= {f"{name}/{kind}": mask_dice(m, sample.mask) for kind, m in zip(PROMPT_KINDS, masks, strict=True)}
    return out


def mask_dice(a: Mask, b: Mask) -> float:
    """``2 |A and B| / (|A| + |B|)`` of two boolean masks of one shape; 0 when both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 0.0


def _batches(split: Path, size: int) -> Iterator[list[Sample]]:
    samples: list[Sample] = []
    for sample in read_split(split):
        samples.append(sample)
        if len(samples) == size:
            yield samples
            samples = []
    if samples:
        yield samples
