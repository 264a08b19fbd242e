"""A zip archive with DICOM files: unpacked to a temporary folder that goes when nobody uses it any more.

An archive may come from anybody. Nothing is written outside the folder, and no more than a limit, whatever it declares.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from medreasoner_monai.dicom.files import looks_like_dicom
from medreasoner_monai.errors import DicomError

MOST_FILES = 100_000
MOST_BYTES = 32 << 30
"""Bytes that all members together may unpack to."""
_SUSPICIOUS_BYTES, _SUSPICIOUS_RATIO = 1 << 30, 200
_CHUNK = 1 << 20
# zipfile has no error of its own for most of it: an encrypted member is a RuntimeError, an unknown compression a
# NotImplementedError, a damaged one what its decompressor raises, a broken directory a ValueError.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError, ValueError)


class Unpacked:
    """DICOM files of an archive. The folder is removed when this object goes, at the latest at the end of the process.

    Attributes
    ----------
    folder:
        Where they lie, under their names in the archive.
    ignored:
        How many members are not DICOM; they were not unpacked.
    """

    def __init__(self, archive: Path) -> None:
        parent = Path(tempfile.mkdtemp(prefix="medreasoner-"))
        self._remove = weakref.finalize(self, shutil.rmtree, parent, ignore_errors=True)
        self.folder = parent / archive.name
        self.folder.mkdir()
        try:
            self.ignored = _unpack(archive, self.folder)
        except BaseException:
            self._remove()
            raise


def is_archive(path: Path) -> bool:
    """Whether the file is a zip archive by its content."""
    try:
        return zipfile.is_zipfile(path)
    except OSError:
        return False


def unpack(path: Path) -> Unpacked:
    """Unpack the DICOM files of a zip archive; they are known by content, as in a folder.

    Raises
    ------
    DicomError
        If it is damaged or encrypted, names files outside itself, or unpacks to more than a limit.
    """
    try:
        return Unpacked(path)
    except _UNREADABLE as error:
        raise DicomError(
            f"{path}: the zip archive cannot be unpacked ({type(error).__name__}); it may be damaged, "
            "encrypted, or too large for the disk: unpack it yourself and give the folder"
        ) from error


def _unpack(archive: Path, folder: Path) -> int:
    ignored, written = 0, 0
    with zipfile.ZipFile(archive) as opened:
        members = [m for m in opened.infolist() if not m.is_dir()]
        _check(archive, members, folder)
        for number, member in enumerate(members):
            with opened.open(member) as source:
                start = source.read(132)
                if not looks_like_dicom(start):
                    ignored += 1
                    continue
                target = folder / _inside(archive, member.filename)
                if target.exists():  # the same name twice: both count
                    target = target.with_name(f"{target.name}.{number}")
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as out:
                    piece = start
                    while piece:
                        written += len(piece)
                        if written > MOST_BYTES:
                            raise _too_large(archive)
                        out.write(piece)
                        piece = source.read(_CHUNK)
    return ignored


def _check(archive: Path, members: list[zipfile.ZipInfo], folder: Path) -> None:
    """Refuse by what the archive declares, before anything is written."""
    total = sum(m.file_size for m in members)
    bomb = total > _SUSPICIOUS_BYTES and total > _SUSPICIOUS_RATIO * archive.stat().st_size
    if len(members) > MOST_FILES or total > MOST_BYTES or bomb:
        raise _too_large(archive)
    for member in members:
        _inside(archive, member.filename)
    if total > shutil.disk_usage(folder).free:
        raise DicomError(
            f"{archive}: unpacks to {total} bytes, more than is free in {folder.parents[1]}; make room, or set TMPDIR"
        )


def _inside(archive: Path, name: str) -> Path:
    """A member's name as a path below the folder; some writers separate with backslashes."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts or ":" in name or "\0" in name or not pure.parts:
        raise DicomError(f"{archive}: the zip archive names a file outside itself; do not use it")
    return Path(*pure.parts)


def _too_large(archive: Path) -> DicomError:
    return DicomError(
        f"{archive}: the zip archive unpacks to more than {MOST_FILES} files or {MOST_BYTES >> 30} GiB, or to "
        f"{_SUSPICIOUS_RATIO} times its size; if that is right, unpack it yourself and give the folder"
    )
