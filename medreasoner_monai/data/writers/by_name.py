"""Asks for each target by its name, which is no implicit question, but enough to measure segmenters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.task.keypoints import key_points, mask_box
from medreasoner_monai.task.taxonomy import TAXONOMY

_VERSION = 1


class NameWriter:
    """``Where is the <target>?``, without a trace."""

    def identity(self) -> dict[str, Any]:
        """Nothing but its version."""
        return {"writer": "name", "version": _VERSION}

    def write(self, picture: LabelledImage) -> Iterator[tuple[str, Sample]]:
        """One sample per target."""
        for target in picture.targets:
            known = TAXONOMY.get(target.name)
            yield (
                target.where,
                Sample(
                    id=f"{picture.origin.source}/{picture.id}-{target.name.replace(' ', '-')}",
                    question=f"Where is the {target.name}?",
                    image=picture.image,
                    mask=target.mask,
                    box=mask_box(target.mask),
                    points=key_points(target.mask),
                    category=target.name,
                    supercategory=known.super_category if known else picture.site.capitalize() or "Other",
                    group=picture.group,
                    modality=picture.modality,
                    spacing=picture.spacing,
                    origin=picture.origin,
                ),
            )
