"""The value of Pixel Data as it is stored: in a file at an offset, or in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from pydicom.dataelem import DataElement, RawDataElement

_UNDEFINED = 0xFFFFFFFF
Element = DataElement | RawDataElement


@dataclass(frozen=True)
class PixelBytes:
    """Bytes of Pixel Data that nobody has read yet.

    Attributes
    ----------
    length:
        As the element says; see ``undefined``.
    undefined:
        Whether the length is undefined: the value is fragments (PS3.5 A.4).
    available:
        Bytes from the beginning of the value to the end of the file or of the memory.
    origin:
        The file and the value's offset in it, or the value itself.
    """

    length: int
    undefined: bool
    available: int
    origin: tuple[Path, int] | bytes

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """A stream at the beginning of the value."""
        if isinstance(self.origin, bytes):
            yield io.BytesIO(self.origin)
            return
        path, offset = self.origin
        with path.open("rb") as f:
            f.seek(offset)
            yield f

    @property
    def ends(self) -> bool:
        """Whether fragments may end with the bytes; in a file a delimiter ends them."""
        return isinstance(self.origin, bytes)


def locate_in_file(element: Element | None, path: Path, *, deflated: bool) -> PixelBytes | None:
    """Where a file's pixel data lie; None where they are not stored as a plain element.

    Parameters
    ----------
    element:
        As read from the file, not yet fetched.
    deflated:
        Offsets in a deflated data set are no offsets in its file.
    """
    if not isinstance(element, RawDataElement):
        return None
    undefined, value = element.length == _UNDEFINED, element.value
    rest = path.stat().st_size - element.value_tell
    if deflated:
        return None if value is None else PixelBytes(element.length, undefined, len(value), value)
    # A short value was read already, as far as it is there.
    available = rest if undefined else min(element.length, rest) if value is None else len(value)
    return PixelBytes(element.length, undefined, available, (path, element.value_tell))


def locate_in_memory(element: Element | None, *, encapsulated: bool) -> PixelBytes | None:
    """The pixel data of a data set that is no file's; None where there are none.

    Parameters
    ----------
    encapsulated:
        Whether the transfer syntax has fragments.
    """
    if element is None:
        return None
    value: Any = element.value
    if hasattr(value, "read"):
        value.seek(0)
        value = value.read()
    if not isinstance(value, bytes | bytearray):
        return None
    undefined = encapsulated or bool(getattr(element, "is_undefined_length", False))
    return PixelBytes(len(value), undefined, len(value), bytes(value))
