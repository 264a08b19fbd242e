"""A finding as a label file: the mask on the series' grid, as MONAI Label's viewers read it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import SimpleITK

from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError
from medreasoner_monai.integrations.monailabel.images import VOLUMES
from medreasoner_monai.integrations.monailabel.lattice import Lattice
from medreasoner_monai.task.findings import Finding

VALUE = 1
"""The label's value; everything else is 0."""


def write_label(
    series: Series, finding: Finding, lattice: Lattice, suffix: str = ".nii.gz", *, compressed: bool = True
) -> Path:
    """Write a finding's mask into a new temporary file; all zero where nothing was found.

    Parameters
    ----------
    series, lattice:
        The series and its grid.
    finding:
        Its masks are ``(rows, columns)`` by slice number.
    suffix:
        ``.nii.gz``, ``.nii`` or ``.nrrd``.

    Returns
    -------
    The file, for the caller to delete.

    Raises
    ------
    InputError
        If the suffix is another one.
    """
    if suffix not in VOLUMES:
        raise InputError(f"result_extension must be one of {', '.join(VOLUMES)}; got {suffix!r}")
    voxels = np.zeros(series.shape, dtype=np.uint8)
    for index, mask in finding.marked.items():
        voxels[index][mask] = VALUE
    image = SimpleITK.GetImageFromArray(voxels)  # (slices, rows, columns) becomes SimpleITK's (column, row, slice)
    image.SetOrigin(lattice.origin.tolist())
    image.SetSpacing(lattice.spacing.tolist())
    image.SetDirection(lattice.direction.ravel().tolist())
    with tempfile.NamedTemporaryFile(prefix="medreasoner-", suffix=suffix, delete=False) as file:
        path = Path(file.name)
    try:
        SimpleITK.WriteImage(image, str(path), compressed)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
