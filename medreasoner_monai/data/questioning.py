"""Samples from drawn phantoms: which picture is asked about what, present or not."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import count, islice
from typing import NamedTuple

import numpy as np

from medreasoner_monai.data.phantoms import REMOVABLE, Phantom, render
from medreasoner_monai.data.questions import WORDINGS, ask, ask_in_vain
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import TAXONOMY, category

OTHER_PART, REMOVED, HEALTHY = "other part", "removed", "healthy"
"""Why a target is not in the picture: it lies in another part of the body or at another level; it was taken out; or it
is a lesion and the picture, of a kind that could show it, has none."""

# Splits draw their phantoms from ranges that cannot meet.
_FIRST_SEED = {"train": 0, "val": 10_000_000, "test": 20_000_000}
_REMOVALS = 0.45  # share of the absent questions on a site with something to remove that are drawn without it
_HEALTHY_FIRST = 10.0  # how much sooner a lesion's share is asked in a picture that could show it than in another one


class _Job(NamedTuple):
    """A phantom to draw, and the organs of which the first that it shows is left out."""

    site: str
    number: int
    removable: tuple[str, ...] = ()


class _Drawn(NamedTuple):
    phantom: Phantom
    removed: str = ""


def phantom_samples(
    split: str,
    wanted: int,
    *,
    sites: tuple[str, ...],
    per_phantom: int,
    seed: int,
    categories: tuple[str, ...] | None = None,
    absent_share: float = 0.0,
    workers: int = 1,
) -> Iterator[Sample]:
    """Draw phantoms and ask about the categories that were asked least so far, until ``wanted`` samples are made.

    Phantoms take turns over the sites; no phantom is shared between splits. Only ``categories`` are asked about, all of
    them when it is None.

    ``absent_share`` of the questions are for a target that is not in the picture: :data:`OTHER_PART`, :data:`REMOVED`
    or :data:`HEALTHY`. Each category is absent in about that share of its own questions and asked for in the same
    words, so that the question alone does not tell whether there is anything to find.
    """
    first = _FIRST_SEED[split] + seed * 100_000_000
    tally = _Tally(tuple(WORDINGS) if categories is None else categories, absent_share)
    made = 0
    jobs = (_job(site, first + n, sites, tally, per_phantom) for n in count() for site in sites)
    with ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent
    ) as pool:
        while chunk := list(islice(jobs, 48)):
            for job, drawn in zip(chunk, pool.map(_render, chunk, chunksize=4), strict=True):
                group = f"{job.site}-{job.number}"
                rng = np.random.default_rng([job.number, sites.index(job.site), 7])
                names = [n for n in drawn.phantom.masks if n in tally.categories]
                rng.shuffle(names)
                vain = [*tally.in_vain(drawn, _absent_count(job, sites, tally, per_phantom))]
                for name in sorted(names, key=lambda n: tally.asked[n])[: per_phantom - len(vain)]:
                    if made == wanted:
                        return
                    tally.asked[name] += 1
                    made += 1
                    yield _present(drawn.phantom, name, group, rng)
                for name, kind in vain:
                    if made == wanted:
                        return
                    tally.absent[name] += 1
                    made += 1
                    yield _absent(drawn.phantom, name, kind, group, rng)


@dataclass
class _Tally:
    """How often each category was asked about so far, present and in vain."""

    categories: tuple[str, ...]
    share: float
    asked: Counter[str] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)

    def in_vain(self, drawn: _Drawn, wanted: int) -> Iterator[tuple[str, str]]:
        """Up to ``wanted`` categories that a picture does not show, and why: those that are furthest behind."""
        if wanted and drawn.removed:
            yield drawn.removed, REMOVED
            wanted -= 1
        kinds = {n: _kind(drawn.phantom, n) for n in self.categories if n in WORDINGS and not drawn.phantom.shows(n)}
        kinds.pop(drawn.removed, None)
        ahead = sorted(kinds, key=lambda n: (-self._behind(n, kinds[n]), n))
        yield from ((name, kinds[name]) for name in ahead[:wanted])

    def _behind(self, name: str, kind: str) -> float:
        missing = self.share / (1 - self.share) * (self.asked[name] + 1) - self.absent[name]
        first = _HEALTHY_FIRST if kind == HEALTHY else 1 / _HEALTHY_FIRST if _lesion(name) else 1.0
        return missing * first if missing > 0 else missing


def _kind(phantom: Phantom, name: str) -> str:
    return HEALTHY if _lesion(name) and TAXONOMY[name].site == phantom.site else OTHER_PART


def _lesion(name: str) -> bool:
    return TAXONOMY[name].is_lesion


def _absent_count(job: _Job, sites: tuple[str, ...], tally: _Tally, per_phantom: int) -> int:
    """How many of a phantom's questions are in vain; by its number, whatever else is drawn."""
    if not tally.share:
        return 0
    rng = np.random.default_rng([job.number, sites.index(job.site), 11])
    return int((rng.random(per_phantom) < tally.share).sum())


def _job(site: str, number: int, sites: tuple[str, ...], tally: _Tally, per_phantom: int) -> _Job:
    plain = _Job(site, number)
    if not _absent_count(plain, sites, tally, per_phantom):
        return plain
    rng = np.random.default_rng([number, sites.index(site), 13])
    names = [n for n in REMOVABLE[site] if n in tally.categories]
    rng.shuffle(names)
    return _Job(site, number, tuple(names)) if rng.random() < _REMOVALS else plain


def _render(job: _Job) -> _Drawn:
    phantom = render(job.site, job.number)
    for name in job.removable:
        if name in phantom.masks:
            return _Drawn(render(job.site, job.number, (name,)), name)
    return _Drawn(phantom)


def _present(phantom: Phantom, name: str, group: str, rng: np.random.Generator) -> Sample:
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


def _absent(phantom: Phantom, name: str, kind: str, group: str, rng: np.random.Generator) -> Sample:
    question, trace = ask_in_vain(phantom, name, rng)
    return Sample(
        id=f"{group}-{kind}-{name}".replace(" ", "-"),
        question=question,
        image=phantom.image,
        mask=np.zeros(phantom.image.shape[:2], dtype=bool),
        box=None,
        points=None,
        category=name,
        supercategory=category(name).super_category,
        modality=phantom.modality,
        group=group,
        trace=trace,
        absent=kind,
    )
