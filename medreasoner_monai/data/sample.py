"""What curation makes: a question about a picture with its answer, and where both came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.task.geometry import Box, Frame, Points

Truth = tuple[Box, Points]
"""The target's box and its two key points, in one frame."""
_IMAGE_GROUP = "image-"


@dataclass(frozen=True)
class SourceRef:
    """Where a picture came from, and how it was rendered.

    Attributes
    ----------
    source:
        Name of the source, as the config or its folder has it.
    file:
        Path of the picture (or volume, or series) within the source, with ``/``; never an absolute path.
    licence:
        As the source states it.
    study, series, instance:
        DICOM UIDs (Study, Series and SOP Instance).
    frame:
        Frame number within a multi-frame instance, from 1 (PS3.3 C.7.6.16).
    slice, plane:
        Slice index from 0 along the volume's through-plane axis, and ``axial``, ``coronal`` or ``sagittal``.
    window:
        The VOI transform that was applied, such as ``40/400``.
    rule:
        Digest of the rule that rendered the picture.
    sequence:
        How the picture was acquired within its modality, such as ``T2`` or ``FLAIR`` of MRI.
    left:
        What lies on the picture's left: ``right`` or ``left`` of the patient; empty where it is unknown.
    """

    source: str
    file: str = ""
    licence: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    frame: int | None = None
    slice: int | None = None
    plane: str = ""
    window: str = ""
    rule: str = ""
    sequence: str = ""
    left: str = ""

    def to_json(self) -> str:
        """Only what is known, in a fixed order."""
        return json.dumps({k: v for k, v in asdict(self).items() if v not in ("", None)})

    @classmethod
    def from_json(cls, text: str) -> SourceRef:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If it is not a JSON object with a ``source``, or a value has the wrong type. Unknown keys are ignored, so
            that older software reads newer files.
        """
        values = json.loads(text)
        if not isinstance(values, Mapping) or not isinstance(values.get("source"), str):
            raise ValueError("an origin is a JSON object with a source")
        known = {f.name: values[f.name] for f in fields(cls) if values.get(f.name) is not None}
        for name, value in known.items():
            if not isinstance(value, int if name in ("frame", "slice") else str) or isinstance(value, bool):
                raise ValueError(f"{name} of an origin has the value {value!r:.40}")
        return cls(**known)


@dataclass(frozen=True)
class Sample:
    """One question about one image.

    ``image`` is uint8 ``(rows, cols)`` or ``(rows, cols, 3)`` RGB; ``mask`` boolean ``(rows, cols)``; ``box`` and
    ``points`` are in the stored frame. ``group`` is what must not be spread over splits (a patient, a phantom);
    ``trace`` is the reasoning to learn from, empty where there is none. ``spacing`` is millimetres from row to row and
    from column to column of the stored image, None where it is unknown.

    Where the image does not show the target, ``box`` and ``points`` are None, ``mask`` is empty, and ``absent`` may say
    why it is not there (``other part``, ``removed``, ``healthy``).

    Raises
    ------
    ValueError
        If there is no group, or mask, box and points do not agree on whether there is a target.
    """

    id: str
    question: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: Box | None
    points: Points | None
    category: str
    supercategory: str
    group: str
    modality: str = ""
    trace: str = ""
    spacing: tuple[float, float] | None = None
    absent: str = ""
    origin: SourceRef | None = None

    def __post_init__(self) -> None:
        if not self.group:
            raise ValueError(f"sample {self.id}: no group; name its patient, or take image_group() of its picture")
        if len({self.box is None, self.points is None, not self.mask.any()}) > 1 or (self.absent and self.box):
            raise ValueError(
                f"sample {self.id}: mask, box and points are all there, or the mask is empty and both others are None"
            )

    @property
    def present(self) -> bool:
        """Whether the image shows the target."""
        return self.box is not None

    @property
    def truth(self) -> Truth | None:
        """Box and points in the stored frame, or None where the image does not show the target."""
        return None if self.box is None or self.points is None else (self.box, self.points)

    @property
    def frame(self) -> Frame:
        """The stored image's frame."""
        return Frame(self.image.shape[1], self.image.shape[0], "stored")


def image_group(image: NDArray[np.uint8]) -> str:
    """The group of a picture whose patient is unknown: its own pixels, so that equal pictures stay together.

    >>> image_group(np.zeros((4, 4), dtype=np.uint8))
    'image-cb2461a6cf53b22e'
    """
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return _IMAGE_GROUP + digest.hexdigest()[:16]


def is_image_group(group: str) -> bool:
    """Whether a group stands for a picture of an unknown patient rather than for a patient."""
    return group.startswith(_IMAGE_GROUP)
