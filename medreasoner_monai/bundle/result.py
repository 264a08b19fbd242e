"""What grounding a question in a series gives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.answer import Grounding
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import MedReasonerError

Slices = int | Literal["all", "auto"]
"""Which slices are asked: one, counted from 0 in series order; all; or a choice by the number there are."""


NO_REGION = "no region found"
"""How the message of a :class:`NoFindingError` begins, also where only the message is left of it."""


class NoFindingError(MedReasonerError):
    """No asked slice gave a region: no readable answer, or only empty masks."""


@dataclass(frozen=True)
class SliceResult:
    """The answer on one slice.

    Attributes
    ----------
    index:
        Counted from 0 in series order.
    grounding:
        Trace, box and points in the DICOM frame's (column, row); None without a readable answer.
    reason:
        Why there is no region; empty when there is one.
    mask:
        Boolean ``(rows, columns)``, or None without a readable answer.
    seconds:
        Reasoner and segmenter together.
    """

    index: int
    grounding: Grounding | None
    reason: str
    mask: NDArray[np.bool_] | None
    seconds: float

    @property
    def voxels(self) -> int:
        """Marked pixels."""
        return 0 if self.mask is None else int(self.mask.sum())


@dataclass(frozen=True)
class Engine:
    """Who answered: a reasoner or a segmenter, by name and digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class GroundedSeries:
    """A question answered in a series, with at least one marked pixel."""

    series: Series
    question: str
    slices: tuple[SliceResult, ...]
    reasoner: Engine
    prompt_digest: str
    segmenter: Engine

    @property
    def key(self) -> SliceResult:
        """The slice shown: the one with the biggest mask, the first of equals."""
        return max(self.slices, key=lambda s: (s.voxels, -s.index))

    @property
    def masks(self) -> NDArray[np.bool_]:
        """``(slices, rows, columns)`` in series order, False where nothing was asked or found."""
        out = np.zeros(self.series.shape, dtype=bool)
        for result in self.slices:
            if result.mask is not None:
                out[result.index] = result.mask
        return out

    @property
    def voxels(self) -> int:
        """Marked voxels in all slices."""
        return sum(s.voxels for s in self.slices)

    @property
    def volume_ml(self) -> float | None:
        """Volume of the marked voxels, or None where the series has no spacing."""
        each = self.series.voxel_ml
        return None if each is None else self.voxels * each
