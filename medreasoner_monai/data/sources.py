"""Where samples come from: drawn phantoms, or files in the U-MRG schema; a bad sample becomes a reject."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path

import numpy as np

from medreasoner_monai.data.phantoms import Phantom, render
from medreasoner_monai.data.questions import ask
from medreasoner_monai.data.schema import Sample, SampleError, from_row, read_rows
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import category

# Splits draw their phantoms from ranges that cannot meet.
_FIRST_SEED = {"train": 0, "val": 10_000_000, "test": 20_000_000}


@dataclass(frozen=True)
class Reject:
    """A sample that was set aside, and why."""

    where: str
    reason: str


def phantom_samples(
    split: str,
    wanted: int,
    *,
    sites: tuple[str, ...],
    per_phantom: int,
    seed: int,
    categories: tuple[str, ...] | None = None,
    workers: int = 1,
) -> Iterator[Sample]:
    """Draw phantoms and ask about the categories that were asked least so far, until ``wanted`` samples are made.

    Phantoms take turns over the sites; no phantom is shared between splits. Only ``categories`` are asked about, all of
    them when it is None.
    """
    first = _FIRST_SEED[split] + seed * 100_000_000
    asked: Counter[str] = Counter()
    made = 0
    jobs = ((site, first + n) for n in count() for site in sites)
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent
    ) as pool:
        while chunk := list(islice(jobs, 48)):
            for (site, number), phantom in zip(chunk, pool.map(_render, chunk, chunksize=4), strict=True):
                rng = np.random.default_rng([number, sites.index(site), 7])
                names = [n for n in phantom.masks if categories is None or n in categories]
                rng.shuffle(names)
                for name in sorted(names, key=lambda n: asked[n])[:per_phantom]:
                    if made == wanted:
                        return
                    asked[name] += 1
                    made += 1
                    yield _sample(phantom, name, f"{site}-{number}", rng)


def _render(job: tuple[str, int]) -> Phantom:
    return render(*job)


def _sample(phantom: Phantom, name: str, group: str, rng: np.random.Generator) -> Sample:
    mask = phantom.masks[name]
    box = mask_box(mask)
    question, trace = ask(phantom, name, rng, box.xyxy)
    return Sample(
        id=f"{group}-{name.replace(' ', '-')}",
        question=question,
        image=phantom.image,
        mask=mask,
        box=box,
        points=key_points(mask),
        category=name,
        supercategory=category(name).super_category,
        modality=phantom.modality,
        group=group,
        trace=trace,
    )


def parquet_samples(path: Path) -> Iterator[Sample | Reject]:
    """Samples of a U-MRG file in order, and a reject in the place of each that cannot be used."""
    for where, row in read_rows(path):
        try:
            yield from_row(row, where)
        except SampleError as error:
            yield Reject(where, str(error))
