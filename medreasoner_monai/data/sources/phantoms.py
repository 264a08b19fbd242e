"""Drawn phantoms as a source: each split is drawn from a range of seeds of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.protocol import Placed, Unit
from medreasoner_monai.settings.data import PhantomSettings


@dataclass(frozen=True)
class PhantomSource:
    """Synthetic pictures with exact masks, already asked about."""

    settings: PhantomSettings
    inline: ClassVar[bool] = True
    synthetic: ClassVar[bool] = True
    description: ClassVar[str] = (
        "Synthetic phantoms drawn by this software, with exact masks. No patient was involved; figures on them say how "
        "the chain works, not how it would do on patients."
    )

    @property
    def name(self) -> str:
        """As the config has it."""
        return self.settings.name

    def identity(self) -> dict[str, Any]:
        """The settings decide everything."""
        return self.settings.model_dump(mode="json")

    def units(self) -> Iterator[Unit]:
        """One unit per split that has samples."""
        for split in ("train", "val", "test"):
            if wanted := getattr(self.settings, split):
                yield Unit(split, wanted)

    def read(self, unit: Unit) -> Iterator[Placed]:
        """The samples of a split, drawn by all cores."""
        s = self.settings
        drawn = phantom_samples(
            unit.key,
            unit.masks,
            sites=s.sites,
            per_phantom=s.questions_per_phantom,
            seed=s.seed,
            categories=s.categories,
            absent_share=s.absent_share,
            workers=min(os.cpu_count() or 1, 8),
        )
        origin = SourceRef(self.name)
        for sample in drawn:
            yield Placed(replace(sample, origin=origin), sample.id, unit.key)
