"""Every file that pydicom carries for its own tests: shown with the right values, or refused with the reason.

A new edition of pydicom that brings another file fails here until the file has a line below.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate, generate_frames

from medreasoner_monai.dicom.pixels import decode_frame
from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, need_tool, render_slice, saved

FOLDER = Path(pydicom.__file__).parent / "data/test_files"

NO_DICOM = "no DICOM file found"
NO_IMAGE = "no image series, only 1 x "
INCOMPLETE = NO_IMAGE + r"\w+ image without .*(Rows|SeriesInstanceUID)"
SEVERAL = "holds 13 image series"
REFUSED = {
    **dict.fromkeys(
        ("crayons.icc", "rtplan.dump", "rtstruct.dump", "test1.json", "test_PN.json", "zipMR.gz"), NO_DICOM
    ),
    **dict.fromkeys(("README.txt", "README", "no_meta.dcm"), NO_DICOM),
    "ExplVR_BigEndNoMeta.dcm": NO_DICOM,  # without a preamble only little endian is told from other files
    **dict.fromkeys(
        (
            "JPEGLSNearLossless_08.dcm",
            "JPEGLSNearLossless_16.dcm",
            "SC_rgb_jls_lossy_line.dcm",
            "SC_rgb_jls_lossy_sample.dcm",
            "UN_sequence.dcm",
            "empty_charset_LEI.dcm",
            "meta_missing_tsyntax.dcm",
            "nested_priv_SQ.dcm",
            "no_meta_group_length.dcm",
            "priv_SQ.dcm",
            "waveform_ecg.dcm",
        ),
        INCOMPLETE,
    ),
    **{
        f"rtdose{kind}.dcm": NO_IMAGE + "RTDOSE"
        for kind in ("", "_1frame", "_expb", "_expb_1frame", "_rle", "_rle_1frame")
    },
    **dict.fromkeys(("rtplan.dcm", "rtplan_truncated.dcm", "ExplVR_LitEndNoMeta.dcm"), NO_IMAGE + "RTPLAN"),
    **dict.fromkeys(("liver_1frame.dcm", "liver_expb_1frame.dcm"), NO_IMAGE + "SEG"),
    **dict.fromkeys(("reportsi.dcm", "reportsi_with_empty_number_tags.dcm", "test-SR.dcm"), NO_IMAGE + "SR"),
    "rtstruct.dcm": NO_IMAGE + "RTSTRUCT",
    "badVR.dcm": "NumberOfFrames in the header is not a number",
    "MR_truncated.dcm": "truncated, 62 bytes of pixel data are missing",
    # Made to hold a delimiter's bytes where its codestream says how wide it is: no decoder reads it.
    "JPEG2000-embedded-sequence-delimiter.dcm": "of 3722445056 x 1024 pixels where the header says 256 x 1024",
}


def expected(path: Path) -> str | None:
    """Why a file is refused; None where it is shown."""
    if "TINY_ALPHA" in path.parts and path.name != "README":
        return r"no image series, only \d+ x CT image without Rows and Columns"
    if path.name.startswith("DICOMDIR"):
        return SEVERAL
    return REFUSED.get(path.name)


def test_every_file_is_shown_or_refused_with_its_reason() -> None:
    shown = refused = 0
    for path in sorted(p for p in FOLDER.rglob("*") if p.is_file()):
        reason = expected(path)
        if reason is None:
            (series,) = open_dicom(path).series
            chosen = choose_series(path)
            assert chosen.view(0).pixels.shape[:2] == series.shape[1:], path.name
            assert chosen.view(len(chosen) - 1).pixels.any(), path.name
            shown += 1
            continue
        with pytest.raises(DicomError, match=reason) as caught:
            choose_series(path).view(0)
        assert path.name in str(caught.value)
        refused += 1
    assert (shown, refused) >= (70, 60)


@pytest.mark.parametrize("name", ["JPGExtended.dcm", "JPEG-lossy.dcm"])
def test_twelve_bit_jpeg_has_dcmtks_values(name: str, tmp_path: Path) -> None:
    tool = need_tool("dcmdjpeg", "apt-get install dcmtk")
    assert subprocess.run([tool, carried(name), tmp_path / "plain"], capture_output=True).returncode == 0
    ours = decode_frame(dcmread(carried(name)), 0)
    assert ours.max() == 264 and np.array_equal(ours, dcmread(tmp_path / "plain").pixel_array)


@pytest.mark.parametrize("damage", ["cut", "size"])
def test_damaged_twelve_bit_jpeg_is_an_error(damage: str, tmp_path: Path) -> None:
    dataset = dcmread(carried("JPGExtended.dcm"))
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    if damage == "cut":
        dataset.PixelData = encapsulate([frame[: len(frame) // 2]])
    else:
        dataset.Rows, dataset.Columns = 256, 1024
    with pytest.raises(DicomError, match="has no end|without the end|of 256 x 1024 pixels where"):
        render_slice(*choose_series(saved(dataset, tmp_path / "damaged")).load(0))


def test_jpeg_2000_that_pillow_refuses_has_gdcms_values() -> None:
    dataset = dcmread(carried("GDCMJ2K_TextGBR.dcm"))
    assert np.array_equal(decode_frame(dataset, 0), decoded_by_gdcm("GDCMJ2K_TextGBR.dcm", dataset.Rows))


def decoded_by_gdcm(name: str, rows: int) -> np.ndarray:
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(str(carried(name)))
    assert reader.Read()
    values = np.frombuffer(reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape"), np.uint8)
    return values.reshape(rows, -1, 3)


def test_a_delimiter_inside_a_codestream_ends_nothing(tmp_path: Path) -> None:
    """A comment in the JPEG 2000 header that holds the bytes of a sequence delimiter (PS3.5 A.4)."""
    dataset = dcmread(carried("JPEG2000.dcm"))
    plain = decode_frame(dataset, 0)
    frame = next(generate_frames(dataset.PixelData, number_of_frames=1))
    at = frame.index(b"\xff\x52")
    comment = b"\x00\x00" + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    dataset.PixelData = encapsulate(
        [frame[:at] + b"\xff\x64" + (len(comment) + 2).to_bytes(2, "big") + comment + frame[at:]]
    )
    series = choose_series(saved(dataset, tmp_path / "embedded"))
    assert np.array_equal(decode_frame(series.load(0)[0], 0), plain)
