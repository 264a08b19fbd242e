"""Label Studio's run lengths of a brush: the bit stream of thi.ng's rle-pack over a picture of RGBA.

A stream holds: the number of values (32 bits); the width of a value less 1 (5 bits); four widths of counts, less 1
each (4 bits each); then chunks, each a bit for "repeated", which of the four widths its count has (2 bits), the count
less 1, and one value, or as many values as it counts. Most significant bits first. The mask is the alpha channel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.errors import InputError
from medreasoner_monai.review.runs import to_runs

_WIDTHS = (3, 4, 8, 16)  # bits of a count, as Label Studio writes them
_CHANNELS = 4


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """A mask ``(rows, cols)`` as Label Studio's ``value.rle``: bytes as numbers."""
    bits = [f"{mask.size * _CHANNELS:032b}", f"{8 - 1:05b}", *(f"{w - 1:04b}" for w in _WIDTHS)]
    for number, run in enumerate(to_runs(mask)):
        value = f"{255 if number % 2 else 0:08b}"
        left = run * _CHANNELS
        while left:
            count = min(left, 2 ** _WIDTHS[-1])
            which = next(i for i, w in enumerate(_WIDTHS) if count <= 2**w)
            bits.append(f"1{which:02b}{count - 1:0{_WIDTHS[which]}b}{value}")
            left -= count
    stream = "".join(bits)
    stream += "0" * (-len(stream) % 8)
    return list(int(stream, 2).to_bytes(len(stream) // 8, "big"))


def decode_brush(rle: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The mask ``(rows, cols)``: where alpha is above 0.

    Raises
    ------
    InputError
        If the stream is not of this format, ends early, or is of another size.
    """
    try:
        stream = bytes(rle)
    except (TypeError, ValueError):
        raise InputError("a brush's rle is a list of bytes") from None
    reader = _Bits(stream)
    total = reader.take(32)
    if total != shape[0] * shape[1] * _CHANNELS:
        raise InputError(f"a brush of {total // _CHANNELS} pixels on a picture of {shape[0]} x {shape[1]}")
    size = reader.take(5) + 1
    widths = [reader.take(4) + 1 for _ in range(4)]
    values = np.zeros(total, dtype=bool)
    at = 0
    while at < total:
        repeated = reader.take(1)
        count = reader.take(widths[reader.take(2)]) + 1
        if at + count > total:
            raise InputError("a brush's rle has more values than it says")
        if repeated:
            values[at : at + count] = reader.take(size) > 0
        else:
            values[at : at + count] = [reader.take(size) > 0 for _ in range(count)]
        at += count
    return values.reshape(*shape, _CHANNELS)[:, :, _CHANNELS - 1].copy()


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits = np.unpackbits(np.frombuffer(data, np.uint8)).tobytes()
        self._at = 0

    def take(self, count: int) -> int:
        piece = self._bits[self._at : self._at + count]
        if len(piece) < count:
            raise InputError("a brush's rle ends early")
        self._at += count
        value = 0
        for bit in piece:
            value = value << 1 | bit
        return value
