"""A DICOM series in: find what lies in a folder, a zip archive or a DICOMDIR, choose one series, put it in order.

Headers are read once and kept without pixel data; pixels are read slice by slice when a slice is looked at, so a large
folder costs little memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from medreasoner_monai.dicom import choice, directory, placement
from medreasoner_monai.dicom.archive import is_archive, unpack
from medreasoner_monai.dicom.assemble import assemble
from medreasoner_monai.dicom.files import File, is_dicom, read_header
from medreasoner_monai.dicom.parts import crowded
from medreasoner_monai.dicom.pixels import frames
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.dicom.spacing import pixel_spacing
from medreasoner_monai.errors import DicomError

__all__ = ["AUTOMATIC", "Series", "choose_series", "find_series"]

logger = logging.getLogger(__name__)

AUTOMATIC = "auto"
"""Given in place of a UID: take the first of the ranking."""

# They carry pixels, or rows and columns, but are no pictures to ask about.
_NOT_PICTURES = {"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "RWV", "PMAP"}
_SAME_SPACING = 1e-3


def find_series(path: Path | str) -> list[Series]:
    """Every image series at a path, by Series Instance UID; parts of one series that share places one by one.

    Parameters
    ----------
    path:
        A folder (searched recursively, by content and not by name), a DICOM file, a zip archive, or a DICOMDIR.

    Raises
    ------
    DicomError
        If there is no such path, no DICOM file, no image series, or a DICOM file that cannot be read at all.
    """
    path = Path(path)
    if not path.exists():
        raise DicomError(f"{path}: no such file or folder; give a DICOM file or a folder that holds one series")
    if path.is_file() and not is_dicom(path) and is_archive(path):
        kept = unpack(path)
        return _find(kept.folder, path, kept.ignored, kept)
    return _find(path.parent if path.is_file() and directory.is_directory(path) else path, path, 0, None)


def _find(root: Path, path: Path, ignored: int, kept: object) -> list[Series]:
    """``root`` is searched; ``path`` is what the user gave."""
    groups: dict[str, list[File]] = {}
    others: Counter[str] = Counter()
    listings: list[tuple[Path, directory.Listing]] = []
    archives = 0
    for file in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
        if not is_dicom(file):
            ignored += 1
            archives += file.suffix.lower() == ".zip" and is_archive(file)
            continue
        entry = read_header(file)
        header = entry.header
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            listings.append((file.parent, directory.listed(header)))
        elif _is_picture(header):
            groups.setdefault(str(header.SeriesInstanceUID), []).append(entry)
        else:
            others[_kind(header)] += 1
    if ignored:
        logger.info("%d file(s) that are not DICOM were left aside", ignored)
    if not groups:
        raise _nothing(path, others, ignored, archives, sum(len(i) for _, found in listings for i in found.values()))
    notes: dict[str, list[str]] = {uid: [] for uid in groups}
    for folder, listing in listings:
        present = {uid: [m.path for m in members] for uid, members in groups.items()}
        for uid, said in directory.notes(listing, folder, present).items():
            notes[uid] += said
    return [s for uid, members in sorted(groups.items()) for s in assemble(uid, members, notes[uid], kept)]


def _nothing(path: Path, others: Counter[str], ignored: int, archives: int, listed: int) -> DicomError:
    if others:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(others.items()))
        return DicomError(f"{path}: no image series, only {kinds}; give the images that these were made from")
    if listed:
        return DicomError(
            f"{path}: the DICOMDIR lists {listed} file(s), but no image file is there; copy the whole medium"
        )
    hint = f", among them {archives} zip archive(s): give one itself" if archives else ""
    return DicomError(
        f"{path}: no DICOM file found ({ignored} other file(s){hint}); give a folder with a DICOM image series"
    )


def choose_series(path: Path | str, uid: str | None = None) -> Series:
    """The one series to ask about.

    Without ``uid``, scouts, secondary captures and pages that a scanner adds are left aside; if one series of images
    proper remains, it is taken, and :meth:`Series.explain` says why.

    Parameters
    ----------
    path:
        See :func:`find_series`.
    uid:
        Series Instance UID, or an ending of it that only one series has; ``UID#2`` for a part; ``auto`` for the series
        with the most images.

    Raises
    ------
    DicomError
        As :func:`find_series`; also if several series are there and ``uid`` is not given, ``uid`` fits none, a file is
        truncated, or the slices do not belong together (sizes or orientations differ, two lie in one place).
    """
    ranked = choice.rank(find_series(path))
    wanted = None if uid is None else uid.strip().removeprefix("…")
    if wanted == AUTOMATIC:
        series, because = choice.best(ranked)
    elif wanted is not None:
        fitting = [r.series for r in ranked if r.series.key == wanted] or [
            r.series for r in ranked if wanted and r.series.key.endswith(wanted)
        ]
        if len(fitting) != 1:
            many = "no series has" if not fitting else "several series have"
            raise DicomError(
                f"{path}: {many} the UID {uid!r}. There are:\n{choice.listing(ranked)}\nChoose one with --series UID"
            )
        series, because = fitting[0], "asked for by its UID"
    elif chosen := choice.only(ranked):
        series, because = chosen
    else:
        raise DicomError(
            f"{path}: holds {len(ranked)} image series:\n{choice.listing(ranked)}\n"
            f"Choose one with --series UID (the end of the UID is enough); --series {AUTOMATIC} takes the first"
        )
    if series.problems:
        raise DicomError("; ".join(series.problems))
    for fault in _faults(series):
        raise DicomError(f"{path}: {fault}")
    for what in series.repairs:
        logger.warning("repaired in memory: %s", what)
    for what in series.notes:
        logger.info("noticed: %s", what)
    return replace(series, because=because)


def _is_picture(header: Dataset) -> bool:
    return (
        bool(header.get("Rows"))
        and bool(header.get("Columns"))
        and bool(header.get("SeriesInstanceUID"))
        and bool(header.get("SOPInstanceUID"))
        and str(header.get("Modality")) not in _NOT_PICTURES
    )


def _kind(header: Dataset) -> str:
    if header.get("Rows") and header.get("Columns") and str(header.get("Modality")) not in _NOT_PICTURES:
        lost = [k for k in ("SeriesInstanceUID", "SOPInstanceUID") if not header.get(k)]
        return f"image without {' and '.join(lost)}"
    value = str(header.get("Modality") or "")
    return value if value.isascii() and value.isalnum() and len(value) <= 8 else "unknown"


def _faults(series: Series) -> Iterator[str]:
    """Why the slices do not belong together."""
    sizes = Counter((int(h.Columns), int(h.Rows)) for h in series.headers)
    if len(sizes) > 1:
        found = ", ".join(f"{n} of {w} x {h}" for (w, h), n in sizes.items())
        yield f"the series mixes image sizes ({found}); give one file, or export the parts separately"
    if len(series.headers) > 1 and any(frames(h) > 1 for h in series.headers):
        yield "the series has several multi-frame images; give one of the files instead of the folder"
    orientations = placement.groups_of(series.planes)
    if len(orientations) > 1:
        found = ", ".join(f"{len(members)} of one" for members in sorted(orientations, key=len, reverse=True))
        scouts = sum("LOCALIZER" in str(h.get("ImageType")) for h in series.headers)
        scout = f"; {scouts} file(s) say that they are scouts" if scouts else " (a scout image?)"
        yield (f"the series mixes slice orientations ({found}){scout}; give one file, or export separately")
    spaces = {str(h.FrameOfReferenceUID) for h in series.headers if h.get("FrameOfReferenceUID")}
    if len(spaces) > 1:
        yield f"the series mixes {len(spaces)} frames of reference; give one file, or export the parts separately"
    spacings = [pixel_spacing(series.headers[p.file], p.frame) for p in series.planes]
    known = np.asarray([s for s in spacings if s is not None])
    if len(known) and (np.abs(known / known[0] - 1) > _SAME_SPACING).any():
        yield "the series mixes pixel spacings; give one file, or export the parts separately"
    if pair := crowded(series.planes):
        yield (
            f"slices {pair[0]} and {pair[1]} (counted from 0) lie in one place, and nothing in the headers tells what "
            "they are; remove what does not belong, or give one file"
        )
