"""DICOM series in: from a folder, a file, a zip archive, a DICOMDIR, or data sets in memory.

Headers are read once and kept without pixel data; pixels are read slice by slice when a slice is looked at, so a large
folder costs little memory.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import MediaStorageDirectoryStorage

from medreasoner_monai.dicom import directory
from medreasoner_monai.dicom.archive import is_archive, unpack
from medreasoner_monai.dicom.assemble import assemble
from medreasoner_monai.dicom.files import is_dicom, read_header
from medreasoner_monai.dicom.found import AUTOMATIC, Found
from medreasoner_monai.dicom.instance import Instance
from medreasoner_monai.dicom.memory import from_dataset
from medreasoner_monai.dicom.set_aside import Damaged, read_each, series_uid_of
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.errors import DicomError

__all__ = ["AUTOMATIC", "Found", "Series", "choose_series", "found_among", "open_datasets", "open_dicom"]

logger = logging.getLogger(__name__)

# They carry pixels, or rows and columns, but are no pictures to ask about.
_NOT_PICTURES = {"SEG", "RTDOSE", "RTSTRUCT", "RTPLAN", "SR", "PR", "KO", "REG", "RWV", "PMAP"}
_NEEDED = ("Rows", "Columns", "SeriesInstanceUID", "SOPInstanceUID")


def choose_series(path: Path | str, uid: str | None = None) -> Series:
    """The one series to ask about, of a path that is asked once: ``open_dicom(path).choose(uid)``.

    Raises
    ------
    DicomError
        As :func:`open_dicom` and :meth:`Found.choose`.
    """
    return open_dicom(path).choose(uid)


def open_dicom(path: Path | str) -> Found:
    """Every image series at a path, its headers read.

    Parameters
    ----------
    path:
        A folder (searched recursively, by content and not by name), a DICOM file, a zip archive, or a DICOMDIR.

    Raises
    ------
    DicomError
        If there is no such path, no DICOM file, or no image series; or if no image of it can be read.
    """
    path = Path(path)
    if not path.exists():
        raise DicomError(f"{path}: no such file or folder; give a DICOM file or a folder that holds one series")
    if path.is_file() and not is_dicom(path) and is_archive(path):
        kept = unpack(path)
        return _search(kept.folder, path, kept.ignored, kept)
    return _search(path.parent if path.is_file() and directory.is_directory(path) else path, path, 0, None)


def open_datasets(datasets: Iterable[Dataset], where: str = "the data sets in memory") -> Found:
    """Every image series among data sets that are in memory; nothing is written to disk, and they stay as they are.

    Parameters
    ----------
    datasets:
        With pixel data, and with the transfer syntax in their ``file_meta``.
    where:
        Names them in messages.

    Raises
    ------
    DicomError
        If there is no image among them, or none that can be read.
    """
    return found_among(read_each(datasets, from_dataset), where)


def found_among(instances: Iterable[Instance | Damaged], where: str) -> Found:
    """Every image series among instances of any source; ``where`` names them in messages.

    Raises
    ------
    DicomError
        If there is no image among them.
    """
    groups: dict[str, list[Instance]] = {}
    others: Counter[str] = Counter()
    damaged: list[Damaged] = []
    incomplete: list[Instance] = []
    for instance in instances:
        if isinstance(instance, Damaged):
            damaged.append(instance)
        elif _is_picture(instance.header):
            groups.setdefault(str(instance.header.SeriesInstanceUID), []).append(instance)
        else:
            others[_kind(instance.header)] += 1
            incomplete.append(instance)
    if not groups:
        if damaged:
            raise _all_damaged(damaged)
        raise _only_others(where, others) if others else DicomError(f"{where}: there is none; give an image series")
    return _assembled(where, groups, {}, [*damaged, *_lost(incomplete, groups)])


def _assembled(
    where: str, groups: dict[str, list[Instance]], notes: dict[str, list[str]], damaged: list[Damaged]
) -> Found:
    """Each series with the damaged instances that are its own, or may be."""
    found: list[Series] = []
    for uid, members in sorted(groups.items()):
        own = [d for d in damaged if d.series_uid in (None, uid)]
        found += assemble(uid, members, notes.get(uid, ()), own)
    return Found(where, tuple(found))


def _lost(incomplete: Iterable[Instance], groups: Collection[str]) -> Iterator[Damaged]:
    """Instances without what an image must have, where they are one all the same: they may be slices of a series.

    What has a SOP class and neither rows nor pixels is something else (a waveform, a document), unless it says that it
    belongs to a series of images.
    """
    for instance in incomplete:
        header = instance.header
        uid = str(header.get("SeriesInstanceUID") or "") or None
        if str(header.get("Modality")) in _NOT_PICTURES:
            continue
        if uid in groups or instance.pixels is not None or header.get("Rows") or not header.get("SOPClassUID"):
            yield Damaged(f"{instance.source.name}: {_kind(header)}; export it again, complete", uid)


def _all_damaged(damaged: list[Damaged]) -> DicomError:
    more = f"; and {len(damaged) - 1} more damaged file(s)" if len(damaged) > 1 else ""
    return DicomError(damaged[0].reason + more)


def _search(root: Path, path: Path, ignored: int, kept: object) -> Found:
    """``root`` is searched; ``path`` is what the user gave."""
    groups: dict[str, list[Instance]] = {}
    places: dict[str, list[Path]] = {}
    others: Counter[str] = Counter()
    listings: list[tuple[Path, directory.Listing]] = []
    archives = 0
    damaged: list[Damaged] = []
    incomplete: list[Instance] = []
    for file in [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file()):
        try:
            if not is_dicom(file):
                ignored += 1
                archives += file.suffix.lower() == ".zip" and is_archive(file)
                continue
            instance = read_header(file, kept)
        except DicomError as error:
            damaged.append(Damaged(str(error), series_uid_of(file)))
            continue
        header = instance.header
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            listings.append((file.parent, directory.listed(header)))
        elif _is_picture(header):
            uid = str(header.SeriesInstanceUID)
            groups.setdefault(uid, []).append(instance)
            places.setdefault(uid, []).append(file)
        else:
            others[_kind(header)] += 1
            incomplete.append(instance)
    if ignored:
        logger.info("%d file(s) that are not DICOM were left aside", ignored)
    if not groups:
        if damaged:
            raise _all_damaged(damaged)
        raise _nothing(path, others, ignored, archives, sum(len(i) for _, found in listings for i in found.values()))
    notes: dict[str, list[str]] = {uid: [] for uid in groups}
    for folder, listing in listings:
        for uid, said in directory.notes(listing, folder, places).items():
            notes[uid] += said
    return _assembled(str(path), groups, notes, [*damaged, *_lost(incomplete, groups)])


def _nothing(path: Path, others: Counter[str], ignored: int, archives: int, listed: int) -> DicomError:
    if others:
        return _only_others(str(path), others)
    if listed:
        return DicomError(
            f"{path}: the DICOMDIR lists {listed} file(s), but no image file is there; copy the whole medium"
        )
    hint = f", among them {archives} zip archive(s): give one itself" if archives else ""
    return DicomError(
        f"{path}: no DICOM file found ({ignored} other file(s){hint}); give a folder with a DICOM image series"
    )


def _only_others(where: str, others: Counter[str]) -> DicomError:
    kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(others.items()))
    incomplete = any(" without " in kind for kind in others)
    remedy = (
        "export them again, complete and with their pixels"
        if incomplete
        else "give the images that these were made from"
    )
    return DicomError(f"{where}: no image series, only {kinds}; {remedy}")


def _is_picture(header: Dataset) -> bool:
    return all(header.get(k) for k in _NEEDED) and str(header.get("Modality")) not in _NOT_PICTURES


def _kind(header: Dataset) -> str:
    """The modality, and what is missing where it ought to be an image."""
    value = str(header.get("Modality") or "")
    modality = value if value.isascii() and value.isalnum() and len(value) <= 8 else "unknown"
    if modality in _NOT_PICTURES:
        return modality
    lost = [k for k in _NEEDED if not header.get(k)]
    return f"{modality} image without {' and '.join(lost)}"
