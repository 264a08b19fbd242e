"""A picture with what is outlined in it, before anyone has asked about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.sample import SourceRef


@dataclass(frozen=True)
class Target:
    """One outlined structure.

    Attributes
    ----------
    name:
        As the source calls it, lower case, words separated by spaces; the taxonomy resolves it.
    mask:
        bool, ``(rows, cols)`` of its picture.
    where:
        The mask's file or label, for people; it names a reject.
    """

    name: str
    mask: NDArray[np.bool_]
    where: str


@dataclass(frozen=True)
class LabelledImage:
    """What a source gives: one picture, rendered as it will be asked about, and its outlined structures.

    Attributes
    ----------
    id:
        Unique in its source, and stable.
    image:
        uint8, ``(rows, cols)`` or ``(rows, cols, 3)`` RGB.
    targets:
        At least one for most pictures; none where a source shows that there is nothing to outline.
    modality, site:
        As the taxonomy writes them (``CT``, ``MRI``, ``X-Ray``, ``Ultrasound``…; ``abdomen``, ``chest``…); empty where
        unknown.
    group:
        The patient (a pseudonym), or :func:`~medreasoner_monai.data.sample.image_group` of the picture.
    origin:
        Where it came from.
    spacing:
        Millimetres from row to row and from column to column; None where unknown.
    labelled:
        Names that the source outlines wherever they are visible: one of them that is not among ``targets`` is known to
        be absent from this picture. Empty where the source does not promise that.
    set_aside:
        Names of structures that are outlined in the source but were rejected here. They are neither asked about nor
        called absent; none of them is in ``labelled``.
    stored:
        The picture's values before windowing, ``(rows, cols)`` on the same grid, of any real type; None where the
        source has none. The firewall recognises by them a slice that is shown in two windows.
    """

    id: str
    image: NDArray[np.uint8]
    targets: tuple[Target, ...]
    modality: str
    site: str
    group: str
    origin: SourceRef
    spacing: tuple[float, float] | None = None
    labelled: frozenset[str] = field(default=frozenset())
    set_aside: frozenset[str] = field(default=frozenset())
    stored: NDArray[Any] | None = None
