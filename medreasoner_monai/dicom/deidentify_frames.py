"""The pixel data of a copy: the picture, and nothing beside it.

Behind the last pixel, in the unused bits of a pixel (where old scanners kept overlays), in the comments and application
segments of a JPEG, in the boxes around a JPEG 2000 and behind its end there is room for text. The decoded picture stays
what it was.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path

import numpy as np
from pydicom import DataElement, Dataset, uid
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import UID

from medreasoner_monai.dicom.codestream import is_jpeg
from medreasoner_monai.dicom.pixels import frame_bytes, frames
from medreasoner_monai.errors import DicomError

_MOST_WITH_TABLE = (1 << 32) - 1
_SOI, _EOI, _SOS, _COMMENT = 0xD8, 0xD9, 0xDA, 0xFE
# Application segments that decide how the picture is read, by marker, beginning and most bytes.
_KEPT = {0xE0: (b"JFIF\0", 16), 0xEE: (b"Adobe", 14), 0xE8: (b"mrfx", 16)}
_STANDALONE = range(0xD0, 0xD8)


def clean_pixel_data(dataset: Dataset, path: Path) -> list[DataElement]:
    """The elements that hold a copy's picture: pixel data, and offset tables where they are needed.

    Parameters
    ----------
    dataset:
        With its transfer syntax, as it was read.
    path:
        Names it in messages.

    Raises
    ------
    DicomError
        If there are fewer pixels than the header says, or the syntax is one whose frames cannot be cleaned.
    """
    for keyword in ("FloatPixelData", "DoubleFloatPixelData"):
        if keyword in dataset:
            element = dataset[keyword]
            size = int(dataset.Rows) * int(dataset.Columns) * frames(dataset) * (4 if keyword[0] == "F" else 8)
            return [DataElement(element.tag, element.VR, _exactly(element.value, size, path))]
    if "PixelData" not in dataset:
        return []
    syntax, element = dataset.file_meta.TransferSyntaxUID, dataset["PixelData"]
    if not syntax.is_encapsulated:
        plain = _exactly(element.value, ceil(frame_bytes(dataset) * frames(dataset)), path)
        return [DataElement(element.tag, element.VR, _without_spare_bits(plain, dataset, str(element.VR)))]
    if not (is_jpeg(syntax) or syntax == uid.RLELossless):
        raise DicomError(f"{path}: frames in {syntax.name} cannot be cleaned of what stands beside the picture")
    offsets, lengths = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    tables = (offsets, lengths) if offsets and lengths else None
    given = generate_frames(element.value, number_of_frames=frames(dataset), extended_offsets=tables)
    coded = [clean_frame(frame, syntax, path) for frame in given]
    if sum(len(frame) + 8 for frame in coded) <= _MOST_WITH_TABLE:
        return [DataElement(element.tag, "OB", encapsulate(coded))]
    data, table, sizes = encapsulate_extended(coded)
    return [
        DataElement(0x7FE00001, "OV", table),
        DataElement(0x7FE00002, "OV", sizes),
        DataElement(element.tag, "OB", data),
    ]


def clean_frame(frame: bytes, syntax: UID, path: Path) -> bytes:
    """A compressed frame without comments and what stands around it.

    Raises
    ------
    DicomError
        If its segments cannot be followed to the end.
    """
    try:
        if syntax == uid.RLELossless:
            return _clean_rle(frame)
        return _clean_jpeg(frame) if frame.startswith(b"\xff\xd8") else _clean_jpeg_2000(frame)
    except (IndexError, ValueError) as error:
        raise DicomError(f"{path}: a compressed frame is damaged, it cannot be cleaned; copy the file again") from error


def _exactly(data: bytes, size: int, path: Path) -> bytes:
    if len(data) < size:
        raise DicomError(f"{path}: truncated, {size - len(data)} bytes of pixel data are missing; copy the file again")
    return data[:size] + bytes(size % 2)


def _without_spare_bits(data: bytes, dataset: Dataset, vr: str) -> bytes:
    """Bits beyond those stored are zero, or the sign's (PS3.5 8.1.1)."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    if allocated not in (8, 16, 32) or not 0 < stored < allocated:
        return data
    little = dataset.original_encoding[1] is not False
    order = "<" if little else ">"
    if allocated == 8 and vr == "OW" and not little:
        return data  # bytes are swapped within words
    signed = int(dataset.get("PixelRepresentation") or 0)
    kind = np.dtype(f"{order}{'i' if signed else 'u'}{allocated // 8}")
    cells = np.frombuffer(data, kind)
    spare = allocated - stored
    shifted = np.left_shift(cells, spare, dtype=kind.newbyteorder("="), casting="unsafe")
    return np.right_shift(shifted, spare).astype(kind).tobytes()


def _clean_jpeg(frame: bytes) -> bytes:
    """JPEG and JPEG-LS (ISO/IEC 10918-1 B.1, 14495-1 C.1): segments up to the end of the image, comments left out."""
    out, at = bytearray(frame[:2]), 2
    while True:
        while frame[at] == 0xFF and frame[at + 1] == 0xFF:
            at += 1
        if frame[at] != 0xFF:
            raise ValueError("no marker")
        marker = frame[at + 1]
        if marker == _EOI:
            return bytes(out) + b"\xff\xd9"
        size = int.from_bytes(frame[at + 2 : at + 4], "big")
        segment = frame[at : at + 2 + size]
        if size < 2 or len(segment) < 2 + size:
            raise ValueError("cut segment")
        begin, most = _KEPT.get(marker, (b"", 0))
        beside = marker == _COMMENT or marker in range(0xE0, 0xF0)
        if not beside or (most and segment[4:].startswith(begin) and size <= most):
            out += segment
        at += 2 + size
        if marker == _SOS:
            end = _end_of_scan(frame, at)
            out += frame[at:end]
            at = end


def _end_of_scan(frame: bytes, at: int) -> int:
    """Where the next marker stands: within coded data, FF is followed by a byte below 80, or by a restart marker."""
    while True:
        at = frame.index(b"\xff", at)
        following = frame[at + 1]
        if following >= 0x80 and following not in _STANDALONE and following != 0xFF:
            return at
        at += 1 if following == 0xFF else 2


def _clean_jpeg_2000(frame: bytes) -> bytes:
    """The codestream alone (ISO/IEC 15444-1 A.4), comments blanked in place: tile parts know their lengths."""
    start = frame.index(b"\xff\x4f\xff\x51")
    out, at = bytearray(frame[start:]), 2
    while True:
        at = _blank_comments(out, at, until=0x90)
        tile, size = at, int.from_bytes(out[at + 6 : at + 10], "big")
        at = _blank_comments(out, at + 12, until=0x93)
        at = tile + size if size else out.rindex(b"\xff\xd9")
        if out[at] != 0xFF:
            raise ValueError("no marker after a tile part")
        if out[at + 1] == _EOI:
            return bytes(out[: at + 2])
        if out[at + 1] != 0x90:
            raise ValueError("no tile part")


def _blank_comments(out: bytearray, at: int, until: int) -> int:
    while out[at + 1] != until:
        if out[at] != 0xFF:
            raise ValueError("no marker")
        size = int.from_bytes(out[at + 2 : at + 4], "big")
        if size < 2 or at + 2 + size > len(out):
            raise ValueError("cut segment")
        if out[at + 1] == 0x64:
            out[at + 4 : at + 2 + size] = b"\0\1" + b" " * (size - 4) if size >= 4 else bytes(size - 2)
        at += 2 + size
    return at


def _clean_rle(frame: bytes) -> bytes:
    """PS3.5 G.5: places of segments that there are not are zero."""
    count = int.from_bytes(frame[:4], "little")
    if not 1 <= count <= 15 or len(frame) < 64:
        raise ValueError("no run lengths")
    used = 4 + 4 * count
    return frame[:used] + bytes(64 - used) + frame[64:]
