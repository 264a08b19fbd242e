"""A finding as a label file, as MONAI Label's viewers read it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import SimpleITK

from medreasoner_monai.errors import InputError
from medreasoner_monai.integrations.monailabel.grid import Grid
from medreasoner_monai.integrations.monailabel.images import VOLUMES
from medreasoner_monai.task.findings import Finding


def write_label(finding: Finding, grid: Grid, suffix: str = ".nii.gz", *, compressed: bool = True) -> Path:
    """Write a finding's mask into a new temporary file; all zero where nothing was found.

    Parameters
    ----------
    finding:
        Its masks are ``(rows, columns)`` by slice number.
    grid:
        Of the series that the finding was made on.
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
    image = grid.label(finding).permute_spatial_axes((2, 1, 0)).to_simpleitk()  # files count column, row, slice
    with tempfile.NamedTemporaryFile(prefix="medreasoner-", suffix=suffix, delete=False) as file:
        path = Path(file.name)
    try:
        SimpleITK.WriteImage(image, str(path), compressed)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path
