"""Pictures of every depth, against what NumPy makes of the same values."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from medreasoner_monai.data.pictures import UNREADABLE, is_plain, read_image, read_labels, to_8_bits

RAMP = (np.arange(40 * 60).reshape(40, 60) * 4095 // 2399).astype(np.uint16)
"""12 bits, as a scanner gives them, in 16."""


def expected(values: np.ndarray) -> np.ndarray:
    """The rule, written out: least to 0, greatest to 255, rounded."""
    low, high = float(values.min()), float(values.max())
    return np.rint((values.astype(float) - low) * 255 / (high - low)).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def by_opencv(pixels: np.ndarray, kind: str = ".png") -> bytes:
    done, data = cv2.imencode(kind, pixels)
    assert done
    return bytes(data)


def grey_and_alpha_of_16_bits(grey: np.ndarray, alpha: np.ndarray) -> bytes:
    """A PNG made by hand: neither library writes it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = np.dstack([grey, alpha]).astype(">u2")
    head = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 16, 4, 0, 0, 0)
    lines = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def test_12_bits_in_a_16_bit_file_keep_their_shades() -> None:
    read = read_image(encoded(RAMP))
    assert np.array_equal(read, expected(RAMP))
    assert (read == 255).mean() < 0.01 and len(np.unique(read)) == 256


@pytest.mark.parametrize(
    "data",
    [
        encoded(RAMP, "TIFF"),
        encoded(RAMP.astype(np.int32), "TIFF"),
        encoded(RAMP.astype(np.float32) / 7 - 100, "TIFF"),
        grey_and_alpha_of_16_bits(RAMP, np.full_like(RAMP, 65535)),
    ],
    ids=["16-bit TIFF", "32-bit TIFF", "float TIFF", "16-bit grey with alpha"],
)
def test_other_deep_grey_is_scaled_by_the_same_rule(data: bytes) -> None:
    difference = read_image(data).astype(int) - expected(RAMP)
    assert difference.shape == RAMP.shape and np.abs(difference).max() <= 1  # float32 rounds


@pytest.mark.parametrize("kind", [".png", ".tiff"])
def test_colour_of_16_bits_keeps_its_lower_half_and_its_hue(kind: str) -> None:
    colours = np.dstack([RAMP, RAMP // 2, RAMP[::-1]])
    read = read_image(by_opencv(colours[:, :, ::-1], kind))
    assert np.array_equal(read, expected(colours))


def test_8_bits_stay_as_they_are() -> None:
    grey = np.random.default_rng(0).integers(20, 90, (4, 5), dtype=np.uint8)
    colour = np.random.default_rng(1).integers(20, 90, (4, 5, 3), dtype=np.uint8)
    assert np.array_equal(read_image(encoded(grey)), grey)
    assert np.array_equal(read_image(encoded(colour)), colour)
    assert np.array_equal(read_image(encoded(grey > 50)), (grey > 50) * np.uint8(255))
    cmyk = Image.fromarray(np.full((8, 8, 3), (200, 100, 50), np.uint8)).convert("CMYK")
    assert np.abs(read_image(encoded(cmyk, "TIFF")).astype(int) - (200, 100, 50)).max() <= 2


def test_a_palette_gives_its_colours() -> None:
    indices = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    indices.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert read_image(encoded(indices)).tolist() == [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]
    assert read_image(encoded(indices, transparency=1)).tolist() == [
        [[10, 20, 30], [0, 0, 0]],
        [[70, 80, 90], [0, 0, 0]],
    ]


def test_transparent_pixels_are_seen_on_black() -> None:
    grey = np.full((2, 2), 200, np.uint8)
    alpha = np.array([[0, 255], [51, 255]], np.uint8)
    seen = [[0, 200], [40, 200]]
    assert read_image(encoded(Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)]))).tolist() == seen
    coloured = read_image(encoded(np.dstack([grey, grey, grey, alpha])))
    assert coloured.shape == (2, 2, 3) and coloured[:, :, 1].tolist() == seen


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e9, 1e9)))
def test_the_scale_keeps_the_order_and_reaches_both_ends(values: np.ndarray) -> None:
    scaled = to_8_bits(values)
    order = np.argsort(values, axis=None, kind="stable")
    assert (np.diff(scaled.ravel()[order].astype(int)) >= 0).all()
    assert (scaled.min(), scaled.max()) == ((0, 255) if values.min() < values.max() else (0, 0))


def test_what_is_no_number_is_black_and_moves_nothing() -> None:
    values = np.array([[np.nan, 1.0], [3.0, np.inf]])
    assert to_8_bits(values).tolist() == [[0, 0], [255, 255]]
    assert to_8_bits(np.full((2, 2), np.nan)).tolist() == [[0, 0], [0, 0]]


def test_labels_of_16_bits_are_not_scaled() -> None:
    labels = np.zeros((6, 6), np.uint16)
    labels[1:3], labels[4:] = 1, 300
    for data in (encoded(labels), encoded(labels, "TIFF")):
        assert np.array_equal(read_labels(data), labels)


def test_colours_are_labels_each_and_transparent_is_background() -> None:
    mask = np.zeros((2, 2, 4), np.uint8)
    mask[..., 3] = 255
    mask[0, 0, :3], mask[0, 1, :3], mask[1, 0] = (0, 0, 1), (1, 0, 0), (255, 255, 255, 0)
    assert read_labels(encoded(mask)).tolist() == [[1, 65536], [0, 0]]
    deep = np.zeros((1, 2, 3), np.uint16)
    deep[0, 0] = (1, 0, 0)  # OpenCV's blue
    assert read_labels(by_opencv(deep)).tolist() == [[1, 0]]


@pytest.mark.parametrize("values", [[[-1.0, 1.0]], [[0.5, 1.0]], [[np.nan, 1.0]]])
def test_values_that_are_no_labels_are_refused(values: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="whole numbers from 0 on"):
        read_labels(encoded(np.array(values, np.float32), "TIFF"))


@given(st.integers(0, 400), st.binary(max_size=6))
def test_a_damaged_file_is_refused_by_a_known_error(where: int, junk: bytes) -> None:
    data = encoded(RAMP)
    damaged = data[:where] + junk + data[where + len(junk) + 9 :]
    for read in (read_image, read_labels):
        with contextlib.suppress(UNREADABLE):
            assert read(damaged).ndim == 2


def test_only_what_every_reader_reads_alike_is_plain() -> None:
    grey = np.zeros((2, 2), np.uint8)
    plain = [encoded(grey), encoded(np.dstack([grey] * 3))]
    other = [
        encoded(RAMP),
        by_opencv(np.dstack([RAMP] * 3)),
        encoded(np.dstack([grey] * 4)),
        encoded(grey, "TIFF"),
        encoded(np.dstack([grey] * 3), transparency=(0, 0, 0)),
    ]
    for data, whether in [*((d, True) for d in plain), *((d, False) for d in other)]:
        with Image.open(io.BytesIO(data)) as picture:
            assert is_plain(picture) is whether
