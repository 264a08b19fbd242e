"""Samples from a picture, a target and the texts that a writer found for it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator

import numpy as np

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import ABNORMAL_STRUCTURE, TAXONOMY, codes_for


def named_targets(picture: LabelledImage) -> Iterator[tuple[str, Target]]:
    """Each target with an id that is unique in its picture: the name, numbered from its second target on."""
    seen: Counter[str] = Counter()
    for target in picture.targets:
        seen[target.name] += 1
        number = f"-{seen[target.name]}" if seen[target.name] > 1 else ""
        yield f"{picture.origin.source}/{picture.id}-{target.name.replace(' ', '-')}{number}", target


def numbered(name: str, turn: int) -> str:
    """The id of a target's next question: ``turn`` is 0 for the first, which has the plain name."""
    return name if turn == 0 else f"{name}-q{turn + 1}"


def found_sample(picture: LabelledImage, target: Target, name: str, question: str, trace: str = "") -> Sample:
    """A question that a target answers; ``name`` is the sample's id."""
    return Sample(
        id=name,
        question=question,
        image=picture.image,
        mask=target.mask,
        box=mask_box(target.mask),
        points=key_points(target.mask),
        category=target.name,
        supercategory=super_category(target.name, picture.site),
        group=picture.group,
        modality=picture.modality,
        trace=trace,
        spacing=picture.spacing,
        origin=picture.origin,
    )


def absent_sample(
    picture: LabelledImage, target: str, site: str, name: str, question: str, trace: str, reason: str
) -> Sample:
    """A question that nothing in a picture answers; ``site`` is where its target would be seen."""
    return Sample(
        id=name,
        question=question,
        image=picture.image,
        mask=np.zeros(picture.image.shape[:2], dtype=bool),
        box=None,
        points=None,
        category=target,
        supercategory=super_category(target, site),
        group=picture.group,
        modality=picture.modality,
        trace=trace,
        spacing=picture.spacing,
        absent=reason,
        origin=picture.origin,
    )


def super_category(name: str, site: str) -> str:
    """The taxonomy's, or else the site with a capital letter; ``Other`` where neither is known."""
    known = TAXONOMY.get(name)
    return known.super_category if known else site.capitalize() or "Other"


def is_lesion(name: str) -> bool:
    """Whether a target is a change in an organ, by the taxonomy or the last word of its name."""
    return codes_for(name).property_category == ABNORMAL_STRUCTURE


def generator(*parts: object) -> np.random.Generator:
    """A random generator that depends on some texts or numbers alone, so that every machine draws the same."""
    return np.random.default_rng(_number(*parts))


def chance_of(*parts: object) -> float:
    """A number from 0 to below 1 that depends on some texts or numbers alone."""
    return _number(*parts) / 2**64


def _number(*parts: object) -> int:
    digest = hashlib.sha256("\x1f".join(str(part) for part in parts).encode()).digest()
    return int.from_bytes(digest[:8], "big")
