"""A DICOM series in: find what lies in a folder, choose one series, put its slices in order.

Headers are read once and kept without pixel data; pixels are read slice by slice when a slice is looked at, so a large
folder costs little memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from medreasoner_monai.dicom.files import File, is_dicom, read, read_header
from medreasoner_monai.dicom.privacy import private
from medreasoner_monai.dicom.repair import repair
from medreasoner_monai.errors import DicomError

logger = logging.getLogger(__name__)

# They carry pixels, or rows and columns, but are no pictures to ask about.
_NOT_PICTURES = {"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "RWV", "PMAP"}
_SHORT = 12


@dataclass(frozen=True)
class Series:
    """One series of images, its slices in order. A multi-frame image counts each of its frames as a slice.

    Attributes
    ----------
    uid:
        Series Instance UID.
    headers:
        One repaired data set a file, without pixel data, in slice order.
    paths:
        The files, in the same order.
    repairs:
        What had to be put right in memory; no patient data.
    problems:
        Files that cannot be used, with the reason; :func:`choose_series` refuses a series that has any.
    """

    uid: str
    headers: tuple[Dataset, ...]
    paths: tuple[Path, ...]
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """Such as ``CT``."""
        return str(self.headers[0].get("Modality") or "OT")

    @property
    def number(self) -> int | None:
        """Series Number, where there is a readable one."""
        try:
            return int(self.headers[0].SeriesNumber)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(slices, rows, columns)``."""
        return (len(self), int(self.headers[0].Rows), int(self.headers[0].Columns))

    def __len__(self) -> int:
        """Number of slices: files, or frames of a multi-frame image."""
        return sum(_frames(h) for h in self.headers)

    def locate(self, index: int) -> tuple[int, int]:
        """File and frame (both from 0) of the slice at ``index`` (from 0)."""
        for number, header in enumerate(self.headers):
            if index < _frames(header):
                return number, index
            index -= _frames(header)
        raise IndexError("slice index beyond the series")

    def sop_instance_uid(self, index: int) -> str:
        """SOP Instance UID of the object that holds the slice."""
        return str(self.headers[self.locate(index)[0]].SOPInstanceUID)

    def load(self, index: int) -> tuple[Dataset, int]:
        """The data set with pixel data that holds the slice, and the slice's frame in it (from 0).

        Raises
        ------
        DicomError
            If the file cannot be read (any more).
        """
        number, frame = self.locate(index)
        return read(self.paths[number]), frame

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in millilitres, or None where spacing or slice distance is unknown (a projection X-ray)."""
        spacing, distance = self._measure("PixelSpacing"), self.slice_distance
        if not isinstance(spacing, Sequence) or len(spacing) != 2 or not distance:
            return None
        volume = float(spacing[0]) * float(spacing[1]) * distance / 1000
        return volume if volume > 0 else None

    def summary(self) -> str:
        """One line for a list to choose from; nothing in it is free text of the file."""
        count, rows, columns = self.shape
        number = "?" if self.number is None else self.number
        return f"…{self.uid[-_SHORT:]}  {self.modality}  {count} image(s)  {columns} x {rows}  series number {number}"

    @property
    def slice_distance(self) -> float | None:
        """Millimetres between neighbouring slices (the median), else the slice thickness, else None."""
        along = _along_normal(self.headers)
        if along is not None and len(along) > 1:
            return float(np.median(np.abs(np.diff(np.sort(along)))))
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            if value := self._measure(keyword):
                return abs(float(value))  # type: ignore[arg-type]
        return None

    def _measure(self, keyword: str) -> object:
        """A pixel measure, from the top level or the functional groups (PS3.3 C.7.6.16.2.1)."""
        header = self.headers[0]
        if header.get(keyword):
            return header[keyword].value
        for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
            for item in list(header.get(groups) or [])[:1]:
                for measures in item.get("PixelMeasuresSequence") or []:
                    if measures.get(keyword):
                        return measures[keyword].value
        return None


@private()
def find_series(path: Path | str) -> list[Series]:
    """Every image series in a folder (searched recursively, by content and not by name) or a single file.

    Raises
    ------
    DicomError
        If there is no such path, no DICOM file, no image series, or a DICOM file that cannot be read at all.
    """
    path = Path(path)
    if not path.exists():
        raise DicomError(f"{path}: no such file or folder; give a DICOM file or a folder that holds one series")
    groups: dict[str, list[File]] = {}
    others: Counter[str] = Counter()
    ignored = 0
    for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
        if not is_dicom(file):
            ignored += 1
            continue
        entry = read_header(file)
        header = entry.header
        if _is_picture(header):
            groups.setdefault(str(header.SeriesInstanceUID), []).append(entry)
        elif header.get("SOPClassUID") != MediaStorageDirectoryStorage:
            others[str(header.get("Modality") or "unknown")] += 1
    if ignored:
        logger.info("%d file(s) that are not DICOM were left aside", ignored)
    if not groups and not others:
        raise DicomError(
            f"{path}: no DICOM file found ({ignored} other file(s)); give a folder with a DICOM image series"
        )
    if not groups:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(others.items()))
        raise DicomError(f"{path}: no image series, only {kinds}; give the images that these were made from")
    return [_series(uid, members) for uid, members in sorted(groups.items())]


def choose_series(path: Path | str, uid: str | None = None) -> Series:
    """The one series to ask about.

    Parameters
    ----------
    path:
        A DICOM file, or a folder.
    uid:
        Series Instance UID, or an ending of it that only one series has; needed when there are several.

    Raises
    ------
    DicomError
        As :func:`find_series`; also if several series are there and ``uid`` is not given, ``uid`` fits none, a file is
        truncated, or the slices do not belong together (sizes or orientations differ).
    """
    found = find_series(path)
    listing = "\n".join(f"  {series.summary()}" for series in found)
    if uid is not None:
        wanted = uid.strip().removeprefix("…")
        fitting = [s for s in found if s.uid == wanted] or [s for s in found if wanted and s.uid.endswith(wanted)]
        if len(fitting) != 1:
            many = "no series has" if not fitting else "several series have"
            raise DicomError(f"{path}: {many} the UID {uid!r}. There are:\n{listing}\nChoose one with --series UID")
        series = fitting[0]
    elif len(found) > 1:
        raise DicomError(
            f"{path}: holds {len(found)} image series:\n{listing}\n"
            "Choose one with --series UID (the end of the UID is enough)"
        )
    else:
        series = found[0]
    if series.problems:
        raise DicomError("; ".join(series.problems))
    _check_together(series, Path(path))
    for what in series.repairs:
        logger.warning("repaired in memory: %s", what)
    return series


def _series(uid: str, members: list[File]) -> Series:
    repairs: Counter[str] = Counter()
    unique: dict[str, File] = {}
    for member in members:
        repairs.update([*member.repairs, *repair(member.header)])
        if str(member.header.SOPInstanceUID) in unique:
            repairs["second file with the same SOP Instance UID left out"] += 1
        unique.setdefault(str(member.header.SOPInstanceUID), member)
    kept = list(unique.values())
    numbers = [_instance_number(m.header) for m in kept]
    along = _along_normal([m.header for m in kept])
    order = sorted(range(len(kept)), key=lambda i: (float(along[i]) if along is not None else 0.0, numbers[i]))
    return Series(
        uid,
        tuple(kept[i].header for i in order),
        tuple(kept[i].path for i in order),
        tuple(f"{what} ({count} file(s))" for what, count in repairs.items()),
        tuple(m.problem for m in members if m.problem),
    )


def _is_picture(header: Dataset) -> bool:
    return (
        bool(header.get("Rows"))
        and bool(header.get("Columns"))
        and bool(header.get("SeriesInstanceUID"))
        and bool(header.get("SOPInstanceUID"))
        and header.get("Modality") not in _NOT_PICTURES
    )


def _check_together(series: Series, path: Path) -> None:
    sizes = Counter((int(h.Columns), int(h.Rows)) for h in series.headers)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.items())
        raise DicomError(
            f"{path}: the series mixes image sizes ({found}); give one file, or export the parts separately"
        )
    if len(series.headers) > 1 and any(_frames(h) > 1 for h in series.headers):
        raise DicomError(
            f"{path}: the series has several multi-frame images; give one of the files instead of the folder"
        )
    orientations = [o for o in (_vector(h, "ImageOrientationPatient", 6) for h in series.headers) if o is not None]
    if orientations and max(float(np.abs(o - orientations[0]).max()) for o in orientations) > 1e-2:
        raise DicomError(
            f"{path}: the series mixes slice orientations (a scout image?); give one file, or export separately"
        )


def _frames(header: Dataset) -> int:
    return max(int(header.get("NumberOfFrames") or 1), 1)


def _instance_number(header: Dataset) -> float:
    try:
        return float(header.InstanceNumber)
    except (AttributeError, TypeError, ValueError):
        return 0.0


def _vector(header: Dataset, keyword: str, length: int) -> NDArray[np.float64] | None:
    try:
        values = np.asarray([float(v) for v in header.get(keyword) or []])
    except (TypeError, ValueError):
        return None
    return values if values.shape == (length,) and np.isfinite(values).all() else None


def _along_normal(headers: Sequence[Dataset]) -> NDArray[np.float64] | None:
    """Each slice's distance along the stack's normal in mm (PS3.3 C.7.6.2.1.1), or None where a position is missing."""
    across = _vector(headers[0], "ImageOrientationPatient", 6)
    positions = [_vector(h, "ImagePositionPatient", 3) for h in headers]
    if across is None or any(p is None for p in positions):
        return None
    return np.stack(positions) @ np.cross(across[:3], across[3:])  # type: ignore[arg-type]
