"""What a model sees of a frame or a stored picture, and everything that tells how it came to be.

A view is the one contract between images and models: who asks, trains or draws takes its pixels, and who records an
answer takes its provenance. A view's :class:`Orientation` alone leads from its grid to the stored one and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.letters import letters_of
from medreasoner_monai.dicom.rules import AS_STORED, GreyFrame, Image, Rule, VoiTransform
from medreasoner_monai.dicom.spacing import Spacing
from medreasoner_monai.dicom.values import Vector

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameReference:
    """The frame that a view shows: Series and SOP Instance UID, and the frame's number in the instance (from 0)."""

    series_instance_uid: str
    sop_instance_uid: str
    frame: int = 0


@dataclass(frozen=True, eq=False)
class Orientation:
    """How a view's grid lies on the stored one, and in the patient.

    Attributes
    ----------
    transposed, mirrored_columns, mirrored_rows:
        The view is the stored frame with rows and columns exchanged, then mirrored left to right, then top to bottom.
    axes:
        Unit vectors ``(6,)`` in the patient's coordinates (LPS): along a row and down a column of the *view*; None
        where the file does not say. Where it says by letters only, vectors that have these letters.
    unknown_because:
        Why there are no axes; empty where there are.
    """

    axes: Vector | None = None
    transposed: bool = False
    mirrored_columns: bool = False
    mirrored_rows: bool = False
    unknown_because: str = ""

    @property
    def letters(self) -> tuple[str, str] | None:
        """Patient Orientation of the view: along a row and down a column, such as ``("L", "P")``; None where unknown.

        Oblique directions have several letters, the dominant one first (PS3.3 C.7.6.1.1.1).
        """
        return None if self.axes is None else (letters_of(self.axes[:3]), letters_of(self.axes[3:]))

    def turn(self, stored: NDArray[np.generic]) -> NDArray[np.generic]:
        """The stored ``(rows, columns, …)`` in the view's grid."""
        turned = stored.swapaxes(0, 1) if self.transposed else stored
        return turned[:: -1 if self.mirrored_rows else 1, :: -1 if self.mirrored_columns else 1]

    def turn_back(self, seen: NDArray[np.generic]) -> NDArray[np.generic]:
        """The inverse of :meth:`turn`."""
        upright = seen[:: -1 if self.mirrored_rows else 1, :: -1 if self.mirrored_columns else 1]
        return upright.swapaxes(0, 1) if self.transposed else upright

    def to_stored(self, xy: Vector, shape: tuple[int, int]) -> Vector:
        """Positions in a view of ``shape`` (rows, columns), continuous (x, y) ``(N, 2)``, as stored (column, row)."""
        x, y = np.asarray(xy, dtype=np.float64).reshape(-1, 2).T
        x, y = self._mirrored(x, y, shape)
        return np.stack([y, x] if self.transposed else [x, y], axis=1)

    def from_stored(self, xy: Vector, shape: tuple[int, int]) -> Vector:
        """The inverse of :meth:`to_stored`; ``shape`` is the view's."""
        column, row = np.asarray(xy, dtype=np.float64).reshape(-1, 2).T
        x, y = (row, column) if self.transposed else (column, row)
        return np.stack(self._mirrored(x, y, shape), axis=1)

    def _mirrored(self, x: Vector, y: Vector, shape: tuple[int, int]) -> tuple[Vector, Vector]:
        rows, columns = shape
        return (columns - x if self.mirrored_columns else x), (rows - y if self.mirrored_rows else y)


AS_IT_LIES = Orientation()
"""The stored grid, nothing known of the patient."""


@dataclass(frozen=True, eq=False)
class View:
    """One picture for a model.

    Attributes
    ----------
    pixels:
        uint8, ``(rows, columns)`` grey or ``(rows, columns, 3)`` RGB.
    rule, voi:
        The rule that rendered it, and what it did to this frame's values: the window that was really used.
    modality:
        Such as ``CT``; empty where unknown.
    index:
        Slice number in its series, from 0.
    orientation:
        Of its grid.
    spacing:
        Of its pixels, or None where the file does not say.
    source:
        The DICOM frame it shows; None for other pictures.
    values:
        ``(rows, columns)`` before windowing (:attr:`~medreasoner_monai.dicom.rules.GreyFrame.unwindowed`), on this
        grid; None unless they were asked for, and for colour.
    """

    pixels: Image
    rule: Rule
    voi: VoiTransform
    modality: str = ""
    index: int = 0
    orientation: Orientation = AS_IT_LIES
    spacing: Spacing | None = None
    source: FrameReference | None = None
    values: NDArray[np.float32] | None = field(default=None, repr=False)

    @property
    def rule_digest(self) -> str:
        """sha256 of the rule; what provenance holds."""
        return self.rule.digest

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return self.pixels.shape[0], self.pixels.shape[1]


def view_values(frame: GreyFrame, rule: Rule = AS_STORED, *, spacing: Spacing | None = None) -> View:
    """Values that come from elsewhere than DICOM, such as a slice of a NIfTI file, rendered by a rule."""
    pixels, done = rule.render(frame)
    return View(pixels, rule, done, frame.modality, spacing=spacing)


def view_picture(pixels: Image, modality: str = "") -> View:
    """A picture of bytes that is stored as it is meant to be seen, grey or RGB; no rule changes it."""
    return View(pixels, AS_STORED, VoiTransform("none"), modality)
