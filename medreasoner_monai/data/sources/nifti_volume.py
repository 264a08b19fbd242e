"""A NIfTI volume as slices in the canonical view: the same turn and the same rendering rule as for DICOM."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, ImageDataError
from numpy.typing import NDArray

from medreasoner_monai.dicom.hanging import hung
from medreasoner_monai.dicom.rules import GreyFrame, Rule
from medreasoner_monai.dicom.spacing import Spacing
from medreasoner_monai.dicom.view import Orientation, View
from medreasoner_monai.errors import InputError

_UNREADABLE = (ImageFileError, HeaderDataError, ImageDataError, OSError, EOFError, ValueError, KeyError, zlib.error)
_NIB: Any = nib  # parts of it have no types
MOST_BYTES = 8 << 30
"""Of a volume; a larger one is set aside."""
_TO_MM = {"meter": 1000.0, "micron": 1e-3}
_SKEWED = 1e-2
_APART_MM = 0.1
PLANES = ("sagittal", "coronal", "axial")
"""By the patient's axis (x, y, z) that is nearest to the normal."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A volume's values as stored, and where its voxels lie.

    Attributes
    ----------
    stored:
        ``(I, J, K)``, not scaled.
    slope, inter:
        Values are ``stored * slope + inter``.
    affine:
        ``(4, 4)``: voxel indices to millimetres in the patient's coordinates, LPS as in DICOM (NIfTI has RAS).
    """

    stored: NDArray[Any]
    slope: float
    inter: float
    affine: NDArray[np.float64]

    @cached_property
    def spacing(self) -> NDArray[np.float64]:
        """Millimetres along each voxel axis, ``(3,)``."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @cached_property
    def axis_of(self) -> dict[str, int]:
        """The voxel axis across each plane. Each axis is across one plane, however oblique the volume lies."""
        found = _NIB.io_orientation(self.affine)[:, 0]
        return {PLANES[int(across)]: axis for axis, across in enumerate(found)}

    @cached_property
    def acquired(self) -> str:
        """The plane across the largest spacing, axial where several are as large."""
        return max(("axial", "coronal", "sagittal"), key=lambda plane: round(self.spacing[self.axis_of[plane]], 3))

    def in_plane(self, plane: str) -> tuple[int, int]:
        """Voxel axes down a column and along a row of a plane as it is stored."""
        rows, columns = (axis for axis in range(3) if axis != self.axis_of[plane])
        return rows, columns

    def orientation(self, plane: str) -> Orientation:
        """The turn of the plane's stored grid to the canonical view."""
        rows, columns = self.in_plane(plane)
        directions = self.affine[:3, :3] / self.spacing
        return hung(np.concatenate([directions[:, columns], directions[:, rows]]))

    def heights(self, plane: str) -> NDArray[np.float64]:
        """Where each slice of a plane lies along the plane's normal, mm, from 0; ``(slices,)``."""
        rows, columns = self.in_plane(plane)
        directions = self.affine[:3, :3] / self.spacing
        normal = np.cross(directions[:, columns], directions[:, rows])
        step = abs(float(normal @ self.affine[:3, self.axis_of[plane]]))
        return np.arange(self.stored.shape[self.axis_of[plane]], dtype=np.float64) * step

    def pixel(self, plane: str) -> Spacing:
        """Millimetres from row to row and from column to column of the canonical view."""
        rows, columns = (float(self.spacing[axis]) for axis in self.in_plane(plane))
        return Spacing(columns, rows) if self.orientation(plane).transposed else Spacing(rows, columns)

    def view(self, plane: str, index: int, rule: Rule, modality: str) -> View:
        """A slice as a model sees it, with its values; ``modality`` is DICOM's code, for the rule.

        What is no number is shown black.
        """
        stored = np.take(self.stored, index, axis=self.axis_of[plane])
        values = stored.astype(np.float64) * self.slope + self.inter
        finite = np.isfinite(values)
        if not finite.any():
            raise InputError(f"{plane} slice {index} holds no number at all")
        padded = None if finite.all() else ~finite
        frame = GreyFrame(np.where(finite, values, values[finite].min()), modality, padded=padded)
        pixels, done = rule.render(frame)
        orientation = self.orientation(plane)
        turned = np.ascontiguousarray(orientation.turn(pixels))
        kept = np.ascontiguousarray(orientation.turn(frame.unwindowed), dtype=np.float32)
        return View(turned, rule, done, modality, index, orientation, self.pixel(plane), values=kept)


def read_volume(path: Path, channel: int | None) -> Volume:
    """An image, or a label map, with its geometry.

    Parameters
    ----------
    channel:
        Of a fourth axis, from 0; None where there must be none.

    Raises
    ------
    InputError
        If it cannot be read, is too large, has other axes, or says nothing certain about how it lies in the patient.
    """
    try:
        image: Any = _NIB.load(path)
        if not isinstance(image, _NIB.Nifti1Image | _NIB.Nifti2Image):
            raise InputError(f"{path.name} is not a NIfTI image")
        size = int(np.prod([int(n) for n in image.shape], dtype=object)) * image.get_data_dtype().itemsize
        if size > MOST_BYTES:
            raise InputError(f"{path.name} holds {size >> 30} GiB, more than {MOST_BYTES >> 30}; crop it, or split it")
        affine = _affine(image, path.name)
        if image.get_data_dtype().names:
            raise InputError(f"{path.name} holds colours, not values of one kind")
        stored = three_axes(np.asanyarray(image.dataobj.get_unscaled()), channel, path.name)
        return Volume(stored, float(image.dataobj.slope), float(image.dataobj.inter), affine)
    except _UNREADABLE as error:
        raise InputError(f"{path.name} is not a readable NIfTI file ({type(error).__name__}: {error})") from None


def three_axes(stored: NDArray[Any], channel: int | None, name: str) -> NDArray[Any]:
    """``(I, J, K)``: a channel of ``(I, J, K, channels)``; None where there must be no fourth axis."""
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim == 4 and channel is not None:
        if channel >= stored.shape[3]:
            raise InputError(
                f"{name} has {stored.shape[3]} channels, counted from 0, and channel {channel} was asked for"
            )
        return stored[..., channel]
    if stored.ndim != 3 or 0 in stored.shape:
        raise InputError(f"{name} has the shape {' x '.join(map(str, stored.shape))}, and three axes were expected")
    return stored


def _affine(image: Any, name: str) -> NDArray[np.float64]:
    header = image.header
    (sform, s_code), (qform, q_code) = header.get_sform(coded=True), header.get_qform(coded=True)
    if not s_code and not q_code:
        raise InputError(
            f"{name} does not say how it lies in the patient (sform and qform codes are 0), so left and right are "
            "unknown; set the code after checking the orientation"
        )
    if s_code and q_code and usable(sform) and usable(qform):
        letters = ["".join(_NIB.aff2axcodes(a)) for a in (sform, qform)]
        if letters[0] != letters[1]:
            raise InputError(
                f"{name}: its sform and qform contradict each other ({letters[0]} and {letters[1]}); keep the right one"
            )
    affine = np.asarray(image.affine, dtype=np.float64)
    if not usable(affine):
        raise InputError(f"{name}: its affine is not that of a volume (a zero, missing or skewed axis); resample it")
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    affine[:3] *= _TO_MM.get(header.get_xyzt_units()[0], 1.0)
    return affine


def usable(affine: Any) -> bool:
    """Whether two axes at least are perpendicular and none is nothing; the third may be sheared, by a gantry tilt."""
    axes = np.asarray(affine, dtype=np.float64)[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    if not np.isfinite(axes).all() or (lengths < 1e-6).any():
        return False
    unit = axes / lengths
    if abs(np.linalg.det(unit)) < 0.5:
        return False
    return min(abs(unit[:, a] @ unit[:, b]) for a, b in ((0, 1), (0, 2), (1, 2))) < _SKEWED


def skewed(volume: Volume, plane: str) -> bool:
    """Whether rows and columns of a plane are not perpendicular: its pictures would be sheared."""
    rows, columns = volume.in_plane(plane)
    unit = volume.affine[:3, :3] / volume.spacing
    return abs(float(unit[:, rows] @ unit[:, columns])) > _SKEWED


def same_grid(a: Volume, b: Volume) -> bool:
    """Whether two volumes have equal shapes and their voxels lie in the same places, to a tenth of a millimetre."""
    if a.stored.shape != b.stored.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in a.stored.shape])).reshape(3, -1)
    corners = np.vstack([corners, np.ones(corners.shape[1])])
    return bool(np.abs((a.affine - b.affine) @ corners).max() < _APART_MM)
