"""NRRD volumes and label maps, 3D Slicer's segmentations (``.seg.nrrd``) among them, as volumes like NIfTI's.

pynrrd parses the header and the values. What it does not do is done here: a header that names a data file elsewhere is
refused, compressed values are unpacked no further than the header says, and axes are taken to LPS by ``space``
(the format: https://teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import nrrd
import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.sources.nifti_volume import MOST_BYTES, Volume, read_volume, three_axes, usable
from medreasoner_monai.data.sources.reading import inside
from medreasoner_monai.errors import InputError

ENDINGS = (".seg.nrrd", ".nrrd", ".nhdr")
FOREIGN = {".mha": "MetaImage", ".mhd": "MetaImage", ".hdr": "Analyze", ".mgz": "FreeSurfer", ".mnc": "MINC"}
"""Volumes of other formats, which are named when they lie among the images or labels."""
_UNREADABLE = (
    *(nrrd.NRRDError, OSError, EOFError, ValueError, KeyError, TypeError, IndexError, AttributeError),
    *(OverflowError, StopIteration, zlib.error),
)
_SPACES = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
}
_SHORT = {"lps": "left-posterior-superior", "ras": "right-anterior-superior", "las": "left-anterior-superior"}
_TO_MM = {"mm": 1.0, "millimeter": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3}
_UNPACKED: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": gzip.open,
    "gz": gzip.open,
    "bzip2": bz2.open,
    "bz2": bz2.open,
}
_SEGMENT = re.compile(r"(Segment\d+)_LabelValue")
_WIDEST = 8  # bytes of a value


@dataclass(frozen=True, eq=False)
class Labelled:
    """A volume; and the values that make up each named segment, where its file names them."""

    volume: Volume
    names: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cropped: bool = False
    """Whether it may cover a part of its image's grid alone, as Slicer's segmentations do."""


def open_volume(path: Path, channel: int | None) -> Volume:
    """A NIfTI or NRRD volume with its geometry; parameters and errors as :func:`read_volume`."""
    return open_labels(path, channel).volume


def open_labels(path: Path, channel: int | None = None) -> Labelled:
    """A NIfTI or NRRD volume with the names of its segments; parameters and errors as :func:`read_volume`."""
    if path.name.endswith(ENDINGS):
        return _read_nrrd(path, channel)
    if path.suffix in FOREIGN and path.is_file():
        raise InputError(f"{path.name} is not read: {convert(path)}")
    return Labelled(read_volume(path, channel))


def convert(path: Path) -> str:
    """What to do with a volume of another format."""
    return (
        f"{FOREIGN[path.suffix]} files are not read; convert it to NIfTI or NRRD, with SimpleITK: "
        "sitk.WriteImage(sitk.ReadImage(OLD), NEW)"
    )


def data_file(path: Path) -> Path | None:
    """The file that holds the values of a NRRD header, where it is another one and can be had."""
    if not path.name.endswith(ENDINGS):
        return None
    try:
        with path.open("rb") as file:
            return _data_file(path, nrrd.read_header(file))
    except (*_UNREADABLE, InputError):
        return None  # reading the volume says why


def _data_file(path: Path, header: Mapping[str, Any]) -> Path | None:
    named = header.get("data file", header.get("datafile"))
    if named is None:
        return None
    if str(named).startswith("LIST") or "%" in str(named):
        raise InputError(f"{path.name} names several data files; save it again as one file")
    return inside(path.parent, str(named))


def same_place(labels: Labelled, image: Volume) -> NDArray[Any] | None:
    """A cropped segmentation's values on its image's grid; None where their voxels do not coincide.

    Raises
    ------
    InputError
        If labelled voxels lie outside the image.
    """
    values = labels.volume.stored
    step = np.linalg.inv(image.affine) @ labels.volume.affine
    start = np.round(step[:3, 3]).astype(int)
    far = np.abs(step[:3, :3] - np.eye(3)).max() * max(values.shape)
    if not np.isfinite(step).all() or far > 0.1 or np.abs(step[:3, 3] - start).max() > 0.1:
        return None
    whole = np.zeros(image.stored.shape, dtype=values.dtype)
    low, high = np.maximum(start, 0), np.minimum(start + values.shape, whole.shape)
    if (low < high).all():
        own = values[tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))]
        whole[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = own
    if np.count_nonzero(whole) < np.count_nonzero(values):
        raise InputError("labelled voxels lie outside the image; resample it to the image's grid")
    return whole


def _read_nrrd(path: Path, channel: int | None) -> Labelled:
    try:
        with path.open("rb") as file:
            header = nrrd.read_header(file)
            affine = _affine(header, path.name)
            _check_size(header, path.name)
            other = _data_file(path, header)
            if other is None:
                stored = _values(header, file, path.name)
            else:
                with other.open("rb") as data:
                    stored = _values(header, data, path.name)
        names = _segments(header)
        return Labelled(
            Volume(_three_axes(stored, header, channel, path.name), 1.0, 0.0, affine),
            names,
            path.name.endswith(".seg.nrrd") or bool(names),
        )
    except _UNREADABLE as error:
        raise InputError(f"{path.name} is not a readable NRRD file ({type(error).__name__}: {error})") from None


def _check_size(header: Mapping[str, Any], name: str) -> None:
    sizes = [int(n) for n in header["sizes"]]
    if min(sizes) < 1:
        raise ValueError(f"sizes {sizes}")
    if int(np.prod(sizes, dtype=object)) * _WIDEST > MOST_BYTES:
        raise InputError(f"{name} holds more than {MOST_BYTES // _WIDEST:,} voxels; crop it, or split it")


def _values(header: Mapping[str, Any], file: BinaryIO, name: str) -> NDArray[Any]:
    """The values in the order of the header's axes. Compressed ones are unpacked as far as they are expected."""
    plain = {k: v for k, v in header.items() if k not in ("data file", "datafile")}
    if (unpacked := _UNPACKED.get(str(header["encoding"]))) is not None:
        for _ in range(int(header.get("line skip", header.get("lineskip", 0)))):
            file.readline()
        skip = int(header.get("byte skip", header.get("byteskip", 0)))
        most = int(np.prod(header["sizes"], dtype=np.int64)) * _WIDEST + max(skip, 0)
        with unpacked(file) as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise InputError(f"{name} unpacks to more than its header says; save it again")
        plain = {k: v for k, v in plain.items() if k not in ("line skip", "lineskip")} | {"encoding": "raw"}
        file = io.BytesIO(data)
    elif os.fstat(file.fileno()).st_size > MOST_BYTES:
        raise InputError(f"{name}: its data file has more than {MOST_BYTES >> 30} GiB; crop it, or split it")
    values = nrrd.read_data(plain, file)
    return np.asarray(values, dtype=values.dtype.newbyteorder("="))


def _three_axes(stored: NDArray[Any], header: Mapping[str, Any], channel: int | None, name: str) -> NDArray[Any]:
    """The channels, along whichever axis they are, come last."""
    apart = _apart(header)
    if len(apart) == 1 and stored.ndim == 4:
        kind = str((header.get("kinds") or [""] * 4)[apart[0]])
        if "color" in kind:
            raise InputError(f"{name} holds colours, not values of one kind")
        if channel is None and stored.shape[apart[0]] > 1:
            raise InputError(
                f"{name} has {stored.shape[apart[0]]} layers of segments that overlap; export it as a label map, or "
                "its segments as files of their own"
            )
        stored = np.moveaxis(stored, apart[0], -1)
    return three_axes(stored, channel, name)


def _apart(header: Mapping[str, Any]) -> list[int]:
    """Axes without a direction in space."""
    directions = np.atleast_2d(np.asarray(header["space directions"], dtype=np.float64))
    return [n for n, row in enumerate(directions) if np.isnan(row).all()]


def _affine(header: Mapping[str, Any], name: str) -> NDArray[np.float64]:
    """Voxels to LPS, by space, directions and origin (the first voxel's centre)."""
    said = str(header.get("space", "")).lower()
    signs = _SPACES.get(_SHORT.get(said, said))
    if signs is None or "space directions" not in header or "space origin" not in header:
        raise InputError(
            f"{name} does not say how it lies in the patient (space {said or 'absent'}), so left and right are unknown"
            f"; expected space {', '.join(_SPACES)} with directions and origin"
        )
    directions = np.atleast_2d(np.asarray(header["space directions"], dtype=np.float64))
    axes = directions[[n for n in range(len(directions)) if n not in _apart(header)]]
    if axes.shape != (3, 3):
        raise InputError(f"{name} has {len(axes)} axes in space, and three were expected")
    units = {str(unit) for unit in header.get("space units", ["mm"])}
    if len(units) != 1 or (unit := units.pop()) not in _TO_MM:
        raise InputError(f"{name} is measured in other units than millimetres; save it again")
    affine = np.eye(4)
    affine[:3, :3] = axes.T
    affine[:3, 3] = np.asarray(header["space origin"], dtype=np.float64)
    affine[:3] *= np.array(signs)[:, None] * _TO_MM[unit]
    if not usable(affine):
        raise InputError(f"{name}: its directions are not those of a volume (a zero, missing or skewed axis)")
    return affine


def _segments(header: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and label values as 3D Slicer writes them; segments of one name are one target."""
    found: dict[str, tuple[int, ...]] = {}
    for key, value in header.items():
        if match := _SEGMENT.fullmatch(key):
            name = " ".join(str(header.get(f"{match[1]}_Name", "")).replace("_", " ").lower().split())
            if name:
                found[name] = (*found.get(name, ()), int(value))
    return found
