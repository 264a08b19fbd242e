"""The picture as a Secondary Capture: pixels unchanged, valid, tied to its slice."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.made import KINDS, make_series, write_capture
from tests.dicom.tools import carried, dciodvfy_errors, need_tool


def a_picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (31, 47, 3), dtype=np.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_a_valid_capture_with_the_pictures_pixels(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path / "in")
    path, key = tmp_path / "sc.dcm", len(series) - 1
    uid = write_capture(series, a_picture(), path, key=key)
    assert dciodvfy_errors(path) == []
    assert subprocess.run([need_tool("dcmftest", "apt-get install dcmtk"), path], capture_output=True).returncode == 0
    capture = dcmread(path)
    assert capture.SOPInstanceUID == uid and capture.SOPClassUID.name == "Secondary Capture Image Storage"
    assert np.array_equal(capture.pixel_array, np.asarray(a_picture()))
    source = capture.SourceImageSequence[0]
    assert source.ReferencedSOPInstanceUID == series.sop_instance_uid(key)
    file, frame = series.locate(key)
    multi = int(series.headers[file].get("NumberOfFrames") or 1) > 1
    assert source.get("ReferencedFrameNumber") == (frame + 1 if multi else None)
    assert capture.ReferencedSeriesSequence[0].SeriesInstanceUID == series.uid
    assert capture.StudyInstanceUID == series.headers[0].StudyInstanceUID


def test_it_warns_of_the_text_in_it_and_says_what_it_is_for(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    write_capture(series, a_picture(), tmp_path / "sc.dcm", key=0, description="Antwort über die Leber")
    capture = dcmread(tmp_path / "sc.dcm")
    assert capture.BurnedInAnnotation == "YES" and list(capture.ImageType) == ["DERIVED", "SECONDARY"]
    assert capture.ImageComments == f"Antwort über die Leber. {RESEARCH_USE}"
    assert capture.SeriesDescription.startswith("Research use only: ")
    assert capture.DerivationDescription.startswith("Slices as displayed")
    assert "PixelSpacing" not in capture, "the picture was resized, nothing may be measured on it"


def test_what_a_lossy_source_lost_stays_said(tmp_path: Path) -> None:
    series = choose_series(carried("examples_ybr_color.dcm"))
    assert series.headers[0].LossyImageCompression == "01"
    write_capture(series, a_picture(), tmp_path / "sc.dcm", key=3)
    assert dcmread(tmp_path / "sc.dcm").LossyImageCompression == "01"
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []


def test_grey_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    for mode in ("L", "RGBA"):
        write_capture(series, a_picture().convert(mode), tmp_path / "sc.dcm", key=0)
        assert dcmread(tmp_path / "sc.dcm").PhotometricInterpretation == "RGB"


@pytest.mark.parametrize("key", [-1, 1])
def test_a_slice_that_is_not_there_is_refused(key: int, tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(DicomError, match="but the series has 1, counted from 0"):
        write_capture(series, a_picture(), tmp_path / "sc.dcm", key=key)
    assert list(tmp_path.iterdir()) == []


def test_a_picture_of_several_findings_refers_to_every_slice_it_shows(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    write_capture(series, a_picture(), tmp_path / "sc.dcm", key=2, keys=[2, 0, 2])
    capture = dcmread(tmp_path / "sc.dcm")
    shown = [series.sop_instance_uid(0), series.sop_instance_uid(2)]
    assert [i.ReferencedSOPInstanceUID for i in capture.SourceImageSequence] == shown
    (same_series,) = capture.ReferencedSeriesSequence
    assert [i.ReferencedSOPInstanceUID for i in same_series.ReferencedInstanceSequence] == shown
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []


def test_the_frames_of_a_clip_that_are_shown_are_named_in_one_reference(tmp_path: Path) -> None:
    series = make_series("US, clip", tmp_path / "in")
    write_capture(series, a_picture(), tmp_path / "sc.dcm", key=0, keys=[4, 1])
    (source,) = dcmread(tmp_path / "sc.dcm").SourceImageSequence
    assert list(source.ReferencedFrameNumber) == [2, 5]
    assert dciodvfy_errors(tmp_path / "sc.dcm") == []


def test_patient_orientation_is_written_where_it_is_known_and_empty_elsewhere(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    write_capture(series, a_picture(), tmp_path / "known.dcm", key=0, patient_orientation=("L", "P"))
    write_capture(series, a_picture(), tmp_path / "unknown.dcm", key=0)
    known, unknown = dcmread(tmp_path / "known.dcm"), dcmread(tmp_path / "unknown.dcm")
    assert list(known.PatientOrientation) == ["L", "P"] and not known.Laterality
    assert "PatientOrientation" in unknown and not unknown.PatientOrientation
    assert dciodvfy_errors(tmp_path / "known.dcm") == []


def test_an_oblique_slice_has_composite_letters(tmp_path: Path) -> None:
    """As PS3.3 C.7.6.1.1.1 writes them; the type of the library's own argument knows single letters alone."""
    write_capture(
        choose_series(carried("CT_small.dcm")),
        a_picture(),
        tmp_path / "oblique.dcm",
        key=0,
        patient_orientation=("LA", "PH"),
    )
    assert list(dcmread(tmp_path / "oblique.dcm").PatientOrientation) == ["LA", "PH"]
    assert dciodvfy_errors(tmp_path / "oblique.dcm") == []


def test_a_picture_that_shows_nothing_is_refused(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(DicomError, match="shows at least one slice"):
        write_capture(series, a_picture(), tmp_path / "sc.dcm", key=0, keys=[])
