"""Made NIfTI files, and what the tests of volume sources share."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.protocol import Source
from tests.dicom.turned import ORIGIN, SPACING, Way

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_nifti(
    path: Path, values: NDArray[np.generic], affine: NDArray[np.float64] | None = None, *, code: int = 1
) -> Path:
    """A NIfTI file, its affine in RAS as the format has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(values, np.eye(4) if affine is None else affine)
    image.set_sform(image.affine, code)
    image.set_qform(None, 0)
    nib.save(image, path)
    return path


def turned(values: NDArray[np.generic], way: Way) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """The made body of ``tests/dicom/turned.py`` with its axes exchanged and reversed, and the RAS affine of that.

    ``values`` are ``(head, back, left)``.
    """
    axes, back = way
    stored = values.transpose(axes)[tuple(slice(None, None, -1 if b else 1) for b in back)]
    affine = np.eye(4)
    affine[:3, 3] = ORIGIN
    for column, (axis, backwards) in enumerate(zip(axes, back, strict=True)):
        direction = np.zeros(3)
        direction[2 - axis] = SPACING[axis]  # head is z, back is y, left is x
        affine[:3, column] = -direction if backwards else direction
        if backwards:
            affine[:3, 3] += direction * (values.shape[axis] - 1)
    return np.ascontiguousarray(stored), LPS_TO_RAS @ affine


def items(source: Source) -> list[LabelledImage | Reject]:
    """Everything of a source of pictures."""
    found = [item for unit in source.units() for item in source.read(unit)]
    assert all(isinstance(item, LabelledImage | Reject) for item in found)
    return found  # type: ignore[return-value]


def pictures(found: Iterable[LabelledImage | Reject]) -> list[LabelledImage]:
    """The pictures among them."""
    return [item for item in found if isinstance(item, LabelledImage)]


def reasons(found: Iterable[LabelledImage | Reject]) -> dict[str, str]:
    """Why things were set aside, by place."""
    return {item.where: item.reason for item in found if isinstance(item, Reject)}
