"""Beside the picture there is room for text in pixel data; none of it is copied, and the picture is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from medreasoner_monai.dicom.deidentify import deidentify
from medreasoner_monai.dicom.pixels import decode_frame
from tests.dicom.test_deidentify import KEY
from tests.dicom.tools import carried, make_ct, make_xray, saved

NAME = b"Quartermain^Allan"


def copied(path: Path) -> Path:
    assert NAME in path.read_bytes()
    deidentify(path, out := path.with_name("out.dcm"), key=KEY, pixels_checked=True)
    assert NAME not in out.read_bytes()
    return out


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("SC_rgb_jpeg_dcmtk.dcm", "comment"),
        ("SC_rgb_jpeg_dcmtk.dcm", "application"),
        ("SC_rgb_jpeg_dcmtk.dcm", "behind"),
        ("MR_small_jpeg_ls_lossless.dcm", "comment"),
        ("JPGExtended.dcm", "application"),
        ("JPEG2000.dcm", "comment"),
        ("693_J2KI.dcm", "comment"),
        ("JPEG2000.dcm", "behind"),
        ("GDCMJ2K_TextGBR.dcm", "box"),
    ],
)
def test_a_name_in_a_compressed_frame_goes_and_the_picture_stays(name: str, place: str, tmp_path: Path) -> None:
    dataset = dcmread(carried(name))
    if not dataset.get("SOPClassUID"):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    before = decode_frame(dataset, 0)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if place == "behind":
        frame += NAME
    elif place == "box":
        at = frame.index(b"ftyp") - 4
        frame = frame[:at] + (len(NAME) + 8).to_bytes(4, "big") + b"xml " + NAME + frame[at:]
    else:
        marker = {"comment": b"\xff\xfe", "application": b"\xff\xe1"}[place]
        at = 2
        content = NAME
        if frame.startswith(b"\xff\x4f"):
            marker, content, at = b"\xff\x64", b"\0\1" + NAME, frame.index(b"\xff\x52")
        frame = frame[:at] + marker + (len(content) + 2).to_bytes(2, "big") + content + frame[at:]
    dataset.PixelData = encapsulate([frame])
    out = copied(saved(dataset, tmp_path / "in.dcm"))
    assert np.array_equal(decode_frame(dcmread(out), 0), before)


def test_a_name_behind_plain_pixels_goes(tmp_path: Path) -> None:
    dataset = dcmread(make_ct(tmp_path, 1)[0])
    plain = dataset.PixelData
    dataset.PixelData = plain + NAME + b" "
    assert dcmread(copied(saved(dataset, tmp_path / "in.dcm"))).PixelData == plain


def test_an_overlay_in_the_unused_bits_goes(tmp_path: Path) -> None:
    """Old scanners drew names into the bits above those stored (PS3.3 C.9.2, retired)."""
    dataset = dcmread(make_xray(tmp_path / "x"))
    plain = np.frombuffer(dataset.PixelData, "<u2")
    dataset.PixelData = (plain | (np.arange(600) % 2 << 15).astype("<u2")).tobytes()
    deidentify(saved(dataset, tmp_path / "in.dcm"), tmp_path / "out.dcm", key=KEY, pixels_checked=True)
    assert dcmread(tmp_path / "out.dcm").PixelData == plain.tobytes()


def test_signs_survive_in_the_unused_bits(tmp_path: Path) -> None:
    dataset = dcmread(make_xray(tmp_path / "x"))
    dataset.PixelRepresentation = 1
    dataset.PixelData = np.arange(-300, 300, dtype="<i2").tobytes()
    deidentify(saved(dataset, tmp_path / "in.dcm"), tmp_path / "out.dcm", key=KEY, pixels_checked=True)
    assert dcmread(tmp_path / "out.dcm").PixelData == dataset.PixelData


def test_unused_places_of_run_lengths_go(tmp_path: Path) -> None:
    dataset = dcmread(carried("MR_small_RLE.dcm"))
    before = decode_frame(dataset, 0)
    frame = bytearray(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    frame[20 : 20 + len(NAME)] = NAME
    dataset.PixelData = encapsulate([bytes(frame)])
    assert np.array_equal(decode_frame(dcmread(copied(saved(dataset, tmp_path / "in.dcm"))), 0), before)
