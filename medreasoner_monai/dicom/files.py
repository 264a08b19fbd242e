"""One DICOM file: whether it is one, its header without pixel data, its data set."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.filereader import read_file_meta_info
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from medreasoner_monai.dicom.elements import decode
from medreasoner_monai.dicom.instance import Instance, checked_instance, take_pixels
from medreasoner_monai.dicom.pixel_bytes import locate_in_file
from medreasoner_monai.errors import DicomError

MOST_INFLATED = 4 << 30
"""Bytes that a deflated data set may have; it is inflated in memory."""
_DEFERRED = 1 << 16


@dataclass(frozen=True)
class FileSource:
    """A file. ``kept`` is what must live as long: the temporary folder of an unpacked archive."""

    path: Path
    kept: object = field(default=None, repr=False, compare=False)

    @property
    def name(self) -> str:
        """The path."""
        return str(self.path)

    def load(self) -> Dataset:
        """See :func:`load`."""
        return load(self.path)


def is_dicom(path: Path) -> bool:
    """Whether the file is DICOM by its first bytes; the name says nothing.

    Raises
    ------
    DicomError
        If it cannot be opened.
    """
    return looks_like_dicom(_start(path))


def looks_like_dicom(start: bytes) -> bool:
    """Whether these are a DICOM file's first 132 bytes, with or without a preamble."""
    return _is_part10(start) or _is_bare(start)


def read(path: Path) -> Dataset:
    """The whole data set; elements of more than 64 KiB are fetched from the file when they are used.

    Raises
    ------
    DicomError
        If it cannot be read.
    """
    return _read(path)[0]


def load(path: Path) -> Dataset:
    """The whole data set, its header decoded as by :func:`read_header`, its pixel data left in the file where large.

    Raises
    ------
    DicomError
        As :func:`read_header`.
    """
    dataset = _read(path)[0]
    pixels = take_pixels(dataset)
    decode(dataset, str(path))
    if pixels is not None:
        dataset[pixels.tag] = pixels
    return dataset


def read_header(path: Path, kept: object = None) -> Instance:
    """The data set without pixel data, after a look at how many bytes of it there are.

    Parameters
    ----------
    kept:
        See :class:`FileSource`.

    Raises
    ------
    DicomError
        As :func:`read`.
    """
    dataset, repairs = _read(path)
    pixels = take_pixels(dataset)
    deflated = dataset.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    found = None if pixels is None else locate_in_file(pixels, path, deflated=deflated)
    return checked_instance(FileSource(path, kept), dataset, found, repairs, has_pixels=pixels is not None)


def _read(path: Path) -> tuple[Dataset, tuple[str, ...]]:
    bare = not _is_part10(_start(path))
    deflated = not bare and _is_deflated(path)
    try:
        # pydicom cannot go back into a deflated file.
        dataset = dcmread(path, force=bare, defer_size=None if deflated else _DEFERRED)
        repairs = _decode_meta(dataset.file_meta)
        if syntax := dataset.file_meta.get("TransferSyntaxUID"):
            if not isinstance(syntax, UID):
                raise ValueError("several transfer syntaxes")
            return dataset, repairs
        implicit, _ = dataset.original_encoding
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise DicomError(
            f"{path}: the DICOM file is damaged or truncated ({type(error).__name__}); copy it again or remove it"
        ) from error
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset, (*repairs, "missing TransferSyntaxUID guessed from the data")


def _decode_meta(meta: Dataset) -> tuple[str, ...]:
    """Take damaged elements out of the file's label; what it says stands in the data set too."""
    damaged = []
    for tag in list(meta.keys()):
        try:
            meta[tag]
        except Exception:  # pydicom raises many kinds on damaged elements
            damaged.append(f"damaged {keyword_for_tag(tag) or tag} left out")
            del meta[tag]
    return tuple(damaged)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(132)
    except OSError as error:
        raise DicomError(f"{path}: cannot be opened ({error.strerror}); make it readable or remove it") from None


def _is_part10(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def _is_bare(start: bytes) -> bool:
    """Old archives leave the preamble out: the data set starts at once, with a group 0008 element, little endian."""
    return len(start) == 132 and start[:2] == b"\x08\x00" and start[3:4] == b"\x00"


def _is_deflated(path: Path) -> bool:
    """Whether the data set is deflated; refuses one that would fill the memory.

    Raises
    ------
    DicomError
        If it would inflate to more than :data:`MOST_INFLATED` bytes.
    """
    try:
        meta = read_file_meta_info(path)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return False
    except Exception:  # the reader proper will say what is wrong with it
        return False
    if path.stat().st_size * 1100 > MOST_INFLATED:  # deflate makes things at most 1032 times smaller
        _check_inflated(path, MOST_INFLATED)
    return True


def _check_inflated(path: Path, most: int) -> None:
    with path.open("rb") as f:
        f.seek(132)
        # The group length (0002,0000) is the first element: 12 bytes, its value the length of what follows.
        f.seek(144 + int.from_bytes(f.read(12)[8:], "little"))
        inflate, size, chunk = zlib.decompressobj(-zlib.MAX_WBITS), 0, b""
        while chunk := inflate.unconsumed_tail or f.read(1 << 20):
            try:
                size += len(inflate.decompress(chunk, 1 << 24))
            except zlib.error:
                return  # the reader proper will say so
            if size > most:
                raise DicomError(
                    f"{path}: the deflated data set holds more than {most} bytes; export the series uncompressed"
                )
