"""Asks for each target by its name, which is no implicit question, but enough to measure segmenters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.writers.answers import found_sample, named_targets

_VERSION = 1


class NameWriter:
    """``Where is the <target>?``, without a trace."""

    def identity(self) -> dict[str, Any]:
        """Nothing but its version."""
        return {"writer": "name", "version": _VERSION}

    def write(self, picture: LabelledImage) -> Iterator[tuple[str, Sample]]:
        """One sample per target."""
        for name, target in named_targets(picture):
            yield target.where, found_sample(picture, target, name, f"Where is the {target.name}?")
