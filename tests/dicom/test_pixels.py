"""Pixel data that are cut, lie, or are very large; and one frame of them at a time."""

import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from medreasoner_monai.dicom import files
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_clip, make_ct, make_xray, paths_of, recoded, render_slice, saved

PLAIN = ExplicitVRLittleEndian.encode() + b"\0"
NEARLY_4_GIB = 4_294_967_000


@pytest.mark.parametrize(
    "syntax",
    ["JPEGLosslessProcess14_1", "JPEGLosslessProcess14", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless"],
)
@pytest.mark.parametrize("make", [make_xray, make_clip])
def test_lossless_syntaxes_of_another_encoder_give_the_same_pictures(
    make: Callable[[Path], Path], syntax: str, tmp_path: Path
) -> None:
    plain = choose_series(make(tmp_path / "plain"))
    other = choose_series(recoded(paths_of(plain)[0], tmp_path / "other", getattr(gdcm.TransferSyntax, syntax)))
    assert other.headers[0].file_meta.TransferSyntaxUID.is_compressed
    for i in range(len(plain)):
        assert np.array_equal(other.view(i).pixels, plain.view(i).pixels)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_syntaxes_written_by_pydicom_give_the_same_picture(tmp_path: Path, syntax: UID) -> None:
    plain = make_ct(tmp_path / "ct", 1, shape=(200, 300))[0]
    dataset = dcmread(plain)
    if syntax.is_encapsulated:
        dataset.compress(syntax)
    dataset.file_meta.TransferSyntaxUID = syntax
    other = tmp_path / "other"
    dataset.save_as(other)
    assert other.stat().st_size > 1000
    assert np.array_equal(choose_series(other).view(0).pixels, choose_series(plain).view(0).pixels)


@pytest.mark.parametrize("kind", ["RGB", "planar", "YBR_FULL", "YBR_FULL_422"])
def test_colour_in_each_arrangement_comes_as_rgb(tmp_path: Path, kind: str) -> None:
    path = make_clip(tmp_path / "clip", 2)
    dataset = dcmread(path)
    rgb = dataset.pixel_array.astype(float)
    if kind == "planar":
        dataset.PlanarConfiguration = 1
        dataset.PixelData = np.ascontiguousarray(rgb.transpose(0, 3, 1, 2)).astype(np.uint8).tobytes()
    elif kind != "RGB":
        # PS3.3 C.7.6.3.1.2, written out.
        matrix = np.array([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])
        ybr = np.clip(np.round(rgb @ matrix.T + [0, 128, 128]), 0, 255).astype(np.uint8)
        dataset.PhotometricInterpretation = kind
        if kind == "YBR_FULL_422":
            pairs = ybr.reshape(2, 20, 14, 2, 3)
            ybr = np.concatenate([pairs[..., 0], pairs[..., :1, 1], pairs[..., :1, 2]], axis=-1)
        dataset.PixelData = ybr.tobytes()
    shown = render_slice(dcmread(saved(dataset, path)), 1)
    assert shown.shape == (20, 28, 3)
    assert np.abs(shown.astype(float) - rgb[1]).max() <= 3


def lying(path: Path, **values: object) -> Path:
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return saved(dataset, path)


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"Rows": 65535, "Columns": 65535}, "truncated, [0-9]+ bytes of pixel data are missing"),
        ({"Rows": 14}, "640 bytes of pixel data more than Rows, Columns"),
        ({"Columns": 31}, "bytes of pixel data more than Rows"),
        ({"NumberOfFrames": 4000000000}, "bytes of pixel data are missing"),
        ({"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}, "bytes of pixel data more than"),
        ({"PixelData": b""}, "truncated, 1536 bytes"),
    ],
)
def test_a_header_that_lies_about_plain_pixels_is_refused(
    tmp_path: Path, values: dict[str, object], pattern: str
) -> None:
    path = lying(make_ct(tmp_path, 1)[0], **values)
    with pytest.raises(DicomError, match=pattern):
        choose_series(path)


def test_fewer_frames_in_the_header_than_in_the_file_are_refused(tmp_path: Path) -> None:
    path = lying(make_clip(tmp_path / "clip", 4), NumberOfFrames=3)
    with pytest.raises(DicomError, match="bytes of pixel data more than"):
        choose_series(path)


def test_padding_after_the_pixels_is_noted() -> None:
    series = choose_series(carried("MR_small_padded.dcm"))
    assert series.notes == ("pixel data end in padding, left out (1 file(s))",)
    assert np.array_equal(series.view(0).pixels, render_slice(dcmread(carried("MR_small.dcm"))))


def compressed(tmp_path: Path, frames: int = 3, *, table: str = "basic") -> Path:
    """A clip in JPEG-LS, with a basic, an extended or no offset table."""
    path = make_clip(tmp_path / "clip", frames)
    dataset = dcmread(path)
    dataset.compress(JPEGLSLossless)
    coded = list(generate_frames(dataset.PixelData, number_of_frames=frames))
    if table == "extended":
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(coded)
    else:
        dataset.PixelData = encapsulate(
            coded, has_bot=table == "basic", fragments_per_frame=1 if table == "none" else 2
        )
    return saved(dataset, path)


@pytest.mark.parametrize("table", ["basic", "extended", "none"])
def test_frames_are_found_with_and_without_an_offset_table(tmp_path: Path, table: str) -> None:
    series = choose_series(compressed(tmp_path, table=table))
    assert [int(series.view(i).pixels[0, 0, 0]) for i in range(3)] == [0, 40, 80]


@pytest.mark.parametrize("claimed", [1, 2, 4, 100000])
@pytest.mark.parametrize("table", ["basic", "none"])
def test_a_wrong_number_of_compressed_frames_is_refused(tmp_path: Path, claimed: int, table: str) -> None:
    path = lying(compressed(tmp_path, table=table), NumberOfFrames=claimed)
    with pytest.raises(DicomError, match=rf"3 compressed frame\(s\) where NumberOfFrames says {claimed}"):
        choose_series(path)


def test_a_compressed_frame_that_is_cut_is_refused(tmp_path: Path) -> None:
    path = compressed(tmp_path)
    dataset = dcmread(path)
    coded = list(generate_frames(dataset.PixelData, number_of_frames=3))
    dataset.PixelData = encapsulate([coded[0], coded[1][:-20], coded[2]])
    with pytest.raises(DicomError, match="compressed frame 1 has no end"):
        choose_series(saved(dataset, path))


def test_a_compressed_picture_of_another_size_is_refused(tmp_path: Path) -> None:
    """Rows and columns changed round: as many bytes, and a picture that would be sheared."""
    path = lying(compressed(tmp_path), Rows=28, Columns=20)
    with pytest.raises(DicomError, match="of 28 x 20 pixels where the header says 20 x 28"):
        choose_series(path).view(0)


def test_run_lengths_too_short_for_the_header_cost_no_memory(tmp_path: Path) -> None:
    path = lying(make_rle(tmp_path), Rows=30000, Columns=30000)
    tracemalloc.start()
    with pytest.raises(DicomError, match="too short for the picture|more than this reads at once"):
        choose_series(path).view(0)
    assert tracemalloc.get_traced_memory()[1] < 50e6
    tracemalloc.stop()


def make_rle(tmp_path: Path) -> Path:
    path = tmp_path / "rle"
    path.write_bytes(carried("MR_small_RLE.dcm").read_bytes())
    return path


def test_unknown_and_private_syntaxes_are_named(tmp_path: Path) -> None:
    path = make_rle(tmp_path)
    dataset = dcmread(path)
    dataset.file_meta.TransferSyntaxUID = UID("1.2.826.0.1.99")
    with pytest.raises(DicomError, match=r"1\.2\.826\.0\.1\.99.*there is no decoder for it here"):
        render_slice(*choose_series(saved(dataset, path)).load(0))
    path.write_bytes(carried("MR_small_RLE.dcm").read_bytes().replace(RLELossless.encode() + b"\0", PLAIN))
    with pytest.raises(DicomError, match="not stored as its transfer syntax asks"):
        choose_series(path)


def test_plain_pixels_called_compressed_are_refused(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    data = path.read_bytes()
    assert data.count(PLAIN) == 1
    path.write_bytes(data.replace(PLAIN, RLELossless.encode() + b"\0"))
    with pytest.raises(DicomError, match="not stored as its transfer syntax asks"):
        choose_series(path)


def test_four_gigabytes_of_frames_cost_one_frame_of_memory(tmp_path: Path) -> None:
    """A sparse file: the pixels are holes, but for the last frame."""
    shape = (512, 512)
    count = NEARLY_4_GIB // (2 * shape[0] * shape[1])
    path = make_clip(tmp_path / "clip", 1)
    dataset = dcmread(path)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = shape
    dataset.NumberOfFrames, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = count, 16, 16, 15
    dataset.WindowCenter, dataset.WindowWidth = 128, 256
    del dataset.PlanarConfiguration
    dataset.PixelData = b""
    dataset["PixelData"].VR = "OW"
    dataset.save_as(path)
    size = count * 2 * shape[0] * shape[1]
    with path.open("r+b") as f:
        f.seek(-4, os.SEEK_END)
        f.write(size.to_bytes(4, "little"))
        start = f.tell()
        f.truncate(start + size)
        f.seek(start + size - 2 * shape[0] * shape[1])
        f.write(np.full(shape, 200, "<u2").tobytes())
    assert path.stat().st_size > 4e9 and path.stat().st_blocks * 512 < 1e7
    tracemalloc.start()
    series = choose_series(path)
    first, last = (series.view(i).pixels for i in (0, count - 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert series.shape == (count, *shape)
    assert int(first.max()) == 0 and int(last.min()) == 200
    assert peak < 60e6
    with path.open("r+b") as f:
        f.truncate(start + size // 2)
    with pytest.raises(DicomError, match="truncated"):
        choose_series(path)


def test_a_deflated_file_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dcmread(make_ct(tmp_path / "ct", 1, shape=(300, 300))[0])
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    path = saved(dataset, tmp_path / "deflated")
    assert choose_series(path).shape == (1, 300, 300)
    monkeypatch.setattr(files, "MOST_INFLATED", 100_000)
    with pytest.raises(DicomError, match="the deflated data set holds more than 100000 bytes"):
        choose_series(path)
