"""Where samples come from: drawn phantoms, or files in the U-MRG schema; a bad sample becomes a reject."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import numpy as np

from medreasoner_monai.data.phantoms import Phantom, render
from medreasoner_monai.data.questions import ask
from medreasoner_monai.data.schema import Sample, SampleError, from_row, has_id, read_rows
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


class Ids:
    """The ids of a data set's samples and where each was first met. Everything downstream tells samples by their id.

    >>> ids = Ids({"a": "the train split"})
    >>> ids.refuse("b", "row 0"), ids.refuse("a", "row 1")
    (None, "sample a: another sample in the train split has this id; give each sample its own")
    """

    def __init__(self, taken: Mapping[str, str] | None = None) -> None:
        self._first = dict(taken or {})

    def refuse(self, name: str, where: str) -> str | None:
        """Take an id; the reason why it cannot be had, or None where it was free."""
        if name in self._first:
            return f"sample {name}: another sample in {self._first[name]} has this id; give each sample its own"
        self._first[name] = where
        return None

    def free(self, name: str) -> str:
        """The name with the first number behind it that makes it an id nobody has."""
        return next(made for n in count(2) if (made := f"{name} ({n})") not in self._first)


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


def parquet_samples(
    path: Path, *, ids: Ids | None = None, keep: Callable[[Sample], bool] | None = None, unreadable: bool = True
) -> Iterator[Sample | Reject]:
    """Samples of a U-MRG file in order, and a reject in the place of each that cannot be used.

    Parameters
    ----------
    ids:
        Those that samples of other files have; a sample that has one of them, or that of an earlier row, is a reject.
        Rows without an id are named by their place in the file.
    keep:
        Which samples are asked for, all by default; what is not kept takes no id.
    unreadable:
        Whether rows that cannot be read are reported.
    """
    ids = Ids() if ids is None else ids
    for where, row in read_rows(path):
        try:
            sample = from_row(row, where)
        except SampleError as error:
            if unreadable:
                yield Reject(where, str(error))
            continue
        if keep is not None and not keep(sample):
            continue
        reason = ids.refuse(sample.id, where)
        if reason is None:
            yield sample
        elif has_id(row):
            yield Reject(where, reason)
        else:  # a file of the same name, in another folder
            sample = replace(sample, id=ids.free(sample.id))
            ids.refuse(sample.id, where)
            yield sample
