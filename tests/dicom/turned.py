"""One made body, stored in every way that DICOM allows: axes exchanged, directions reversed, or as a radiograph."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.dicom.tools import carried, make_xray

Way = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""Which of the body's axes the slices, rows and columns follow, and which of the three run backwards."""

WAYS: list[Way] = [
    (axes, back) for axes in itertools.permutations(range(3)) for back in itertools.product((False, True), repeat=3)
]
SPACING = (4.0, 2.0, 1.5)
ORIGIN = (-10.0, -24.0, -100.0)
"""Millimetres: between the body's voxels along feet-head, front-back and right-left; of its first, in LPS."""
SHAPE = (6, 13, 24)
SPOT = (slice(1, 3), slice(4, 6), slice(15, 19))
"""The brightest voxels: on the patient's left, in front of the middle, nearer to the feet."""
_DIRECTIONS = np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=float)


def name(way: Way) -> str:
    """For test ids."""
    axes, back = way
    return "".join(("-" if backwards else "+") + "HPL"[axis] for axis, backwards in zip(axes, back, strict=True))


def body(*, mirrored: bool = False) -> NDArray[np.int16]:
    """HU ``(slices, rows, columns)`` towards head, back and the patient's left: an ellipse with a bright spot."""
    head, back, left = np.indices(SHAPE)
    inside = ((back - 6) / 5.5) ** 2 + ((left - 11.5) / 9) ** 2 <= 1
    hu = np.where(inside, 40 + 5 * head - 3 * back + 2 * left, -1000).astype(np.int16)
    hu[SPOT] = 300
    return np.ascontiguousarray(hu[..., ::-1]) if mirrored else hu


def spot_in_space(*, mirrored: bool = False) -> NDArray[np.float64]:
    """Least and greatest voxel centres of the bright spot, LPS in mm ``(2, 3)``."""
    low, high = (np.array([getattr(s, end) for s in SPOT]) for end in ("start", "stop"))
    corners = np.stack([low, high - 1]).astype(float)
    if mirrored:
        corners[:, 2] = SHAPE[2] - 1 - corners[::-1, 2]
    return np.asarray((corners * SPACING)[:, ::-1] + ORIGIN)


def write_ct(
    folder: Path,
    way: Way = WAYS[0],
    hu: NDArray[np.int16] | None = None,
    origin: tuple[float, float, float] = ORIGIN,
    **more: object,
) -> Path:
    """The body as single-frame CT slices: the same patient, whichever ``way`` they are stored.

    ``more`` are further attributes of every slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes, back = way
    hu = body() if hu is None else hu
    stored = hu.transpose(axes)[tuple(slice(None, None, -1 if b else 1) for b in back)]
    signs = np.where(back, -1.0, 1.0)
    directions = _DIRECTIONS[list(axes)] * signs[:, None]
    spacing = np.array(SPACING)[list(axes)]
    # The stored grid's first voxel is the body's last where an axis runs backwards.
    corner = np.array(origin) + sum(
        _DIRECTIONS[axis] * SPACING[axis] * (hu.shape[axis] - 1) for axis, b in zip(axes, back, strict=True) if b
    )
    template = dcmread(carried("CT_small.dcm"))
    template.remove_private_tags()  # which are most of it, and take time
    series, frame, study = (generate_uid(prefix=None) for _ in range(3))
    for number, pixels in enumerate(stored):
        dataset = Dataset()
        dataset.update(template)
        dataset.file_meta = template.file_meta
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = series, study, frame
        dataset.InstanceNumber = number + 1
        dataset.ImageOrientationPatient = [*directions[2], *directions[1]]
        dataset.ImagePositionPatient = list(corner + number * spacing[0] * directions[0])
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        dataset.WindowCenter, dataset.WindowWidth = 40, 800
        dataset.PixelData = np.ascontiguousarray(pixels + 1024).astype(np.int16).tobytes()
        for keyword, value in more.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"{number:03}.dcm", enforce_file_format=True)
    return folder


def write_radiograph(path: Path, picture: NDArray[np.uint16], orientation: list[str] | None, **more: object) -> Path:
    """A digital X-ray with these pixels (12 bits), and Patient Orientation where given."""
    dataset = dcmread(make_xray(path))
    dataset.Rows, dataset.Columns = picture.shape
    dataset.PixelData = np.ascontiguousarray(picture, dtype=np.uint16).tobytes()
    if orientation is not None:
        dataset.PatientOrientation = orientation
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def radiograph(*, mirrored: bool = False) -> NDArray[np.uint16]:
    """A body in air as a radiograph shows it from the front, ``(60, 50)``, with a bright spot at the patient's left.

    As it is hung, or ``mirrored``.
    """
    rows, columns = np.indices((60, 50))
    picture = np.zeros((60, 50), np.uint16)
    picture[np.abs(columns - 24.5) < 18 + 2 * np.cos(rows / 9)] = 1500
    picture[20:30, 33:38] = 3900
    return np.ascontiguousarray(picture[:, ::-1]) if mirrored else picture
