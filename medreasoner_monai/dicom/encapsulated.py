"""Compressed pixel data in fragments (PS3.5 A.4): whether each frame is there, without decoding any."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from pydicom import Dataset, uid

from medreasoner_monai.dicom.codestream import TAIL, ends, is_jpeg, starts
from medreasoner_monai.dicom.pixel_bytes import PixelBytes

_ITEM, _DELIMITER = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
Fragment = tuple[int, int]
"""Offset in the stream, and length, in bytes."""


def encapsulated_problem(header: Dataset, pixels: PixelBytes, source: str, count: int) -> str | None:
    """Why the fragments cannot be ``count`` whole frames, or None; ``source`` names the instance in a message."""
    with pixels.open() as f:
        fragments = list(_fragments(f, f.tell(), f.tell() + pixels.available, pixels.ends))
        if not fragments or fragments[-1][1] < 0:
            return f"{source}: truncated, the compressed pixel data do not reach their end; copy the file again"
        table, fragments = fragments[0], fragments[1:]
        grouped = _frames(f, header, table, fragments, count)
        if not isinstance(grouped, int) and count > sum(length for _, length in fragments):
            grouped = len(fragments)  # less than a byte a frame, in whatever syntax
        if isinstance(grouped, int):
            return (
                f"{source}: {grouped} compressed frame(s) where NumberOfFrames says {count}; "
                "frames are missing or the header is wrong, export the file again"
            )
        if is_jpeg(header.file_meta.TransferSyntaxUID):
            for number, (start, length) in enumerate(grouped):
                f.seek(start + max(length - TAIL, 0))
                if not ends(f.read(min(length, TAIL))):
                    return (
                        f"{source}: truncated, compressed frame {number} has no end; "
                        "pixel data are missing, copy the file again"
                    )
    return None


def _fragments(f: BinaryIO, offset: int, size: int, may_end: bool) -> Iterator[Fragment]:
    """Each item's place, the basic offset table's first; a length of -1 ends a list that breaks off."""
    while True:
        f.seek(offset)
        head = f.read(8)
        length = int.from_bytes(head[4:], "little")
        if head[:4] == _DELIMITER or (may_end and not head):
            return
        if head[:4] != _ITEM or offset + 8 + length > size:
            yield offset, -1
            return
        yield offset + 8, length
        offset += 8 + length


def _frames(
    f: BinaryIO, header: Dataset, table: Fragment, fragments: list[Fragment], count: int
) -> list[Fragment] | int:
    """The last fragment of each frame, or how many frames there seem to be where they are not ``count``."""
    syntax = header.file_meta.TransferSyntaxUID
    if not fragments:
        return 0
    if is_jpeg(syntax):
        begins = [i for i, (start, _) in enumerate(fragments) if starts(_peek(f, start))]
        if count == 1 and not begins:
            begins = [0]
    elif syntax == uid.RLELossless:
        begins = list(range(len(fragments)))
    else:
        return [fragments[-1]]  # video, or one that the decoder will refuse by name
    if len(begins) != count or begins[0] != 0 or not _table_fits(f, table, fragments, count):
        return len(begins)
    return [fragments[i - 1] for i in [*begins[1:], len(fragments)]]


def _peek(f: BinaryIO, offset: int) -> bytes:
    f.seek(offset)
    return f.read(8)


def _table_fits(f: BinaryIO, table: Fragment, fragments: list[Fragment], count: int) -> bool:
    """Whether the basic offset table, where it is filled, names ``count`` fragments (PS3.5 A.4)."""
    start, length = table
    if not length:
        return True
    f.seek(start)
    words = f.read(length)
    named = [int.from_bytes(words[i : i + 4], "little") for i in range(0, len(words), 4)]
    # Offsets count from the first fragment's item, eight bytes before its value.
    known = {at - fragments[0][0] for at, _ in fragments}
    return len(named) == count and named == sorted(set(named)) and set(named) <= known
