"""What a compressed frame says about itself: its size, and whether its end is there.

Decoders differ in what they do with a frame that is cut or of another size: some fill up with grey and say nothing.
Markers: JPEG ISO/IEC 10918-1 B.1, JPEG-LS ISO/IEC 14495-1 C.2, JPEG 2000 ISO/IEC 15444-1 A.2; RLE PS3.5 G.
"""

from __future__ import annotations

from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

_JP2 = b"\x00\x00\x00\x0cjP  "
_STARTS = (b"\xff\xd8", b"\xff\x4f", _JP2)
_END = b"\xff\xd9"
# Start of frame: C0-CF without the tables C4, C8, CC; F7 is JPEG-LS.
_FRAME_MARKERS = {*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC}
_RLE_MOST = 64
TAIL = 64
"""How many bytes at a frame's end :func:`ends` needs."""


def is_jpeg(syntax: UID) -> bool:
    """Whether frames in this transfer syntax are of the JPEG family, with start and end markers."""
    return syntax in (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes)


def starts(fragment: bytes) -> bool:
    """Whether a JPEG, JPEG-LS or JPEG 2000 frame begins here."""
    return fragment.startswith(_STARTS)


def ends(tail: bytes) -> bool:
    """Whether these last bytes of a frame hold the end marker, before padding."""
    return tail.rstrip(b"\x00\xff").endswith(_END)


def fault(frame: bytes, syntax: UID, rows: int, columns: int, frame_bytes: int) -> str | None:
    """Why a compressed frame cannot be the ``rows`` x ``columns`` picture of the header, or None.

    Parameters
    ----------
    frame_bytes:
        Bytes of the decoded frame.
    """
    if syntax == RLELossless:
        # Two bytes give 128 at most: what claims more would fill the memory with nothing.
        if frame_bytes > _RLE_MOST * len(frame):
            return "too short for the picture that the header describes"
        return None
    if not is_jpeg(syntax):
        return None
    if not starts(frame):
        return "without the start of a compressed picture"
    if not ends(frame[-TAIL:]):
        return "without the end of the compressed picture"
    size = _size(frame)
    if size is None:
        return "without the size of the compressed picture"
    if size != (rows, columns):
        return f"of {size[1]} x {size[0]} pixels where the header says {columns} x {rows}"
    return None


def precision(frame: bytes) -> int:
    """Bits of a sample as the codestream says; 0 where it does not."""
    if frame.startswith(b"\xff\xd8"):
        at = _frame_marker(frame)
        return 0 if at is None else frame[at + 4]
    return int(get_j2k_parameters(frame).get("precision", 0))


def _size(frame: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG family codestream."""
    if frame.startswith(b"\xff\xd8"):
        at = _frame_marker(frame)
        return None if at is None else (_word(frame, at + 5), _word(frame, at + 7))
    # A JP2 file wraps the codestream in boxes; SOC and SIZ always stand together.
    at = frame.find(b"\xff\x4f\xff\x51") + 8
    if at < 8 or len(frame) < at + 16:
        return None
    width, height, left, top = (int.from_bytes(frame[at + i : at + i + 4], "big") for i in (0, 4, 8, 12))
    return height - top, width - left


def _frame_marker(frame: bytes) -> int | None:
    """Where the start-of-frame segment of a JPEG or JPEG-LS codestream begins."""
    at = 2
    while at + 9 <= len(frame) and frame[at] == 0xFF:
        marker = frame[at + 1]
        if marker in _FRAME_MARKERS:
            return at
        # Before another marker, FF may be repeated as filling.
        at += 1 if marker == 0xFF else 2 + _word(frame, at + 2)
    return None


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")
