"""A DICOMDIR (PS3.3 F): which files it lists for each series, held against the files that are there.

Files are found by their content, listed or not; the list only tells what is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydicom import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import MediaStorageDirectoryStorage

from medreasoner_monai.dicom.files import is_dicom

Listing = dict[str, list[tuple[str, ...]]]
"""File IDs, as parts of a path in upper case, by Series Instance UID; the empty UID for files of no series record."""


def is_directory(path: Path) -> bool:
    """Whether the file is a DICOMDIR, whatever it is called."""
    if not is_dicom(path):
        return False
    try:
        return read_file_meta_info(path).get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage
    except Exception:  # pydicom raises many kinds; the reader proper will say what is wrong
        return False


def listed(directory: Dataset) -> Listing:
    """The files that the records name, by series.

    Records point to their first child and their next sibling by place in the file (PS3.3 F.3.2.2). Damaged pointers
    leave files without a series; they are never followed in a circle.
    """
    items = directory.get("DirectoryRecordSequence") or []
    # An item without a place in the file cannot be pointed to; -1, -2, … are no places.
    records = {int(getattr(r, "seq_item_tell", None) or -i): r for i, r in enumerate(items, 1)}
    found: Listing = defaultdict(list)
    seen: set[int] = set()
    for record in records.values():
        if record.get("DirectoryRecordType") == "SERIES":
            uid = str(record.get("SeriesInstanceUID") or "")
            for place in _children(record, records):
                if place not in seen:
                    seen.add(place)
                    found[uid] += _file(records[place])
    for place, record in records.items():
        if place not in seen:
            found[""] += _file(record)
    return dict(found)


def notes(listing: Listing, root: Path, present: dict[str, list[Path]]) -> dict[str, list[str]]:
    """What a listing says that is not so, by Series Instance UID.

    Parameters
    ----------
    root:
        The folder of the DICOMDIR.
    present:
        The files found by content, by Series Instance UID.
    """
    there = {path: _parts(path, root) for paths in present.values() for path in paths}
    known = set(there.values())
    said: dict[str, list[str]] = defaultdict(list)
    elsewhere = 0
    for uid, ids in listing.items():
        missing = sum(i not in known and not _exists(root, i) for i in ids)
        if missing and uid in present:
            said[uid].append(f"the DICOMDIR lists {missing} file(s) of this series that are not there")
        else:
            elsewhere += missing
    every = {i for ids in listing.values() for i in ids}
    for uid, paths in present.items():
        if elsewhere:
            said[uid].append(f"the DICOMDIR lists {elsewhere} more file(s) that are not there")
        if extra := sum(there[p] not in every for p in paths):
            said[uid].append(f"{extra} file(s) of this series are not listed in the DICOMDIR")
    return dict(said)


def _children(record: Dataset, records: dict[int, Dataset]) -> Iterator[int]:
    place = _pointer(record, "OffsetOfReferencedLowerLevelDirectoryEntity")
    seen: set[int] = set()
    while place in records and place not in seen:
        seen.add(place)
        yield place
        place = _pointer(records[place], "OffsetOfTheNextDirectoryRecord")


def _pointer(record: Dataset, keyword: str) -> int:
    try:
        return int(record.get(keyword) or 0)
    except (TypeError, ValueError):
        return 0


def _file(record: Dataset) -> list[tuple[str, ...]]:
    value = record.get("ReferencedFileID")
    if not value:
        return []
    parts: Iterable[object] = [value] if isinstance(value, str) else value
    return [tuple(str(p).strip().upper() for p in parts)]


def _parts(path: Path, root: Path) -> tuple[str, ...]:
    """As a File ID would be: some file systems show the names in lower case, or with a version at the end."""
    try:
        relative = path.relative_to(root)
    except ValueError:
        return ()
    return tuple(part.upper().removesuffix(";1").removesuffix(".") for part in relative.parts)


def _exists(root: Path, parts: tuple[str, ...]) -> bool:
    """Whether a listed file is there without being an image; names that lead outside are not looked at."""
    if any(p in ("", ".", "..") or "/" in p or "\0" in p for p in parts):
        return False
    folder = root
    for part in parts:
        if not folder.is_dir():
            return False
        match = next((c for c in folder.iterdir() if c.name.upper().removesuffix(";1").removesuffix(".") == part), None)
        if match is None:
            return False
        folder = match
    return True
