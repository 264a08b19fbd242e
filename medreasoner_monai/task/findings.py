"""What asking a question of a series gives: the answer on each slice, the region in the volume, and who answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.taxonomy import Codes

Status = Literal["found", "nothing found", "abstained"]


@dataclass(frozen=True)
class SliceResult:
    """The answer on one slice.

    Attributes
    ----------
    index:
        Counted from 0 in series order.
    grounding:
        Trace, box and points in the DICOM frame's (column, row); None without a readable answer, and on a slice that
        the mask was carried to.
    reason:
        Why there is no region; empty when there is one.
    mask:
        Boolean ``(rows, columns)``, or None without a region.
    seconds:
        Reasoner and segmenter together.
    confidence:
        In [0, 1]: the agreement of several answers on an asked slice, the carrier's score on a slice carried to; None
        where nothing was measured.
    carried:
        Whether the mask was carried here from a neighbour, in place of the reasoner being asked.
    unsure:
        Whether there was a region whose confidence was too low to give.
    """

    index: int
    grounding: Grounding | None
    reason: str
    mask: NDArray[np.bool_] | None
    seconds: float
    confidence: float | None = None
    carried: bool = False
    unsure: bool = False

    @property
    def voxels(self) -> int:
        """Marked pixels."""
        return 0 if self.mask is None else int(np.count_nonzero(self.mask))


ConfidenceKind = Literal["", "agreement", "calibrated"]
FlagKind = Literal["side", "name", "coverage", "source"]
"""What a flag is about: left and right, what the region is called, how far it was followed, or the images."""


@dataclass(frozen=True)
class Flag:
    """A reason to distrust a part of a finding, for every output that shows it.

    Attributes
    ----------
    kind:
        What it is about.
    text:
        One sentence for a reader; nothing of the patient, no text of the files.
    """

    kind: FlagKind
    text: str


@dataclass(frozen=True)
class Side:
    """The side of the patient that a region lies on.

    Attributes
    ----------
    value:
        ``midline`` where the region lies on the midline or reaches well across it.
    how:
        How that is known, or why it is not; nothing of the patient.
    """

    value: Literal["left", "right", "midline", "unknown"]
    how: str


@dataclass(frozen=True)
class Finding:
    """One question's answer in a series.

    Attributes
    ----------
    question:
        As asked.
    slices:
        In series order; only those asked, or carried to.
    key:
        Number of the slice shown and reported on; it was asked, and has a region where any has.
    codes:
        What the region is, from the taxonomy; None where nobody said.
    coded_from:
        ``given`` with the question, or ``trace`` where the reasoning names exactly one category.
    stops:
        Where and why the carried mask ends, a sentence a direction; empty where nothing was carried.
    tracking_uid:
        Identifies the finding across SEG, SR and picture (a DICOM UID).
    candidates:
        The answers on all asked slices, where the mask of the best of them was carried on and the others given up.
    flags:
        Reasons to distrust a part of it.
    confidence_kind:
        What the confidences are: the ``agreement`` of several answers as it is, or ``calibrated``, fitted on validation
        data to the overlap it predicts; empty where none was measured.
    side:
        Where the region lies in the patient; None without a region.
    """

    question: str
    slices: tuple[SliceResult, ...]
    key: int
    tracking_uid: str
    codes: Codes | None = None
    coded_from: Literal["", "given", "trace"] = ""
    stops: tuple[str, ...] = ()
    candidates: tuple[SliceResult, ...] = ()
    flags: tuple[Flag, ...] = ()
    confidence_kind: ConfidenceKind = ""
    side: Side | None = None

    @property
    def shown(self) -> SliceResult:
        """The key slice's answer."""
        return next(s for s in self.slices if s.index == self.key)

    @property
    def status(self) -> Status:
        """``found`` with at least one marked pixel; ``abstained`` where the only regions were unsure ones."""
        if self.voxels:
            return "found"
        return "abstained" if any(s.unsure for s in self.slices) else "nothing found"

    @property
    def reason(self) -> str:
        """Why there is no region; empty when there is one."""
        if self.voxels:
            return ""
        return "; ".join(dict.fromkeys(s.reason for s in self.slices if s.reason))

    @property
    def voxels(self) -> int:
        """Marked voxels in all slices."""
        return sum(s.voxels for s in self.slices)

    @property
    def marked(self) -> dict[int, NDArray[np.bool_]]:
        """Masks ``(rows, columns)`` by slice number, of slices with at least one marked pixel."""
        return {s.index: s.mask for s in self.slices if s.mask is not None and s.voxels}


@dataclass(frozen=True)
class Engine:
    """Who answered: a reasoner or a segmenter, by name and digest."""

    name: str
    digest: str


@dataclass(frozen=True)
class Origin:
    """What made an answer; every output carries it.

    Attributes
    ----------
    reasoner, segmenter:
        The engines.
    prompt_digest:
        sha256 of the prompt template.
    rendering_digest:
        sha256 of the rule that rendered the pictures (:mod:`medreasoner_monai.dicom.rules`).
    model_version:
        The bundle's version.
    reward_digest, dataset_digest:
        sha256 of the reward settings and of the data set the model was trained with; empty where nobody noted them.
    """

    reasoner: Engine
    segmenter: Engine
    prompt_digest: str
    model_version: str = ""
    reward_digest: str = ""
    dataset_digest: str = ""
    rendering_digest: str = ""
    more: Mapping[str, str] = field(default_factory=dict)

    @property
    def digests(self) -> dict[str, str]:
        """The digests that are known, by what they are of."""
        known = {
            "reasoner": self.reasoner.digest,
            "prompt": self.prompt_digest,
            "rendering rule": self.rendering_digest,
            "segmenter": self.segmenter.digest,
            "reward settings": self.reward_digest,
            "data set": self.dataset_digest,
            **self.more,
        }
        return {name: digest for name, digest in known.items() if digest}
