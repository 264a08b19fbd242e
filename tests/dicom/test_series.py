"""Reading what archives really hold."""

import logging
import shutil
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_ct, make_xray, need_ct


def test_slices_are_sorted_along_the_normal_whatever_the_files_are_called(tmp_path: Path) -> None:
    make_ct(tmp_path / "deep/er", 5, orientation=(0, 1, 0, 0, 0, -1))
    (tmp_path / "notes.txt").write_text("not DICOM")
    series = choose_series(tmp_path)
    assert series.shape == (5, 24, 32)
    assert [series.load(i)[0].pixel_array[0, 0] for i in range(5)] == [1000, 1010, 1020, 1030, 1040]
    assert series.voxel_ml == pytest.approx(0.8 * 0.8 * 2.5 / 1000)


def test_without_positions_instance_numbers_decide(tmp_path: Path) -> None:
    for path in make_ct(tmp_path, 3):
        dataset = dcmread(path)
        del dataset.ImagePositionPatient
        dataset.save_as(path)
    series = choose_series(tmp_path)
    assert [int(h.InstanceNumber) for h in series.headers] == [1, 2, 3]


def test_spacing_between_slices_is_measured_not_believed(tmp_path: Path) -> None:
    for path in make_ct(tmp_path, 3, gap=2.5):
        dataset = dcmread(path)
        dataset.SliceThickness = 5
        dataset.save_as(path)
    assert choose_series(tmp_path).slice_distance == pytest.approx(2.5)


def test_several_series_are_listed_and_one_is_chosen_by_the_end_of_its_uid(tmp_path: Path) -> None:
    first, second = "1.2.826.0.1.11111111111111", "1.2.826.0.1.22222222222222"
    make_ct(tmp_path / "a", 2, series_uid=first)
    make_ct(tmp_path / "b", 3, series_uid=second, shape=(10, 12))
    assert [s.uid for s in open_dicom(tmp_path).series] == [first, second]
    with pytest.raises(DicomError, match="2 image series") as caught:
        choose_series(tmp_path)
    message = str(caught.value)
    assert "…222222222222  CT  3 image(s)  12 x 10  series number 1" in message and "--series UID" in message
    assert "e+1" not in message, "free text of the file"
    assert choose_series(tmp_path, second[-6:]).uid == second
    with pytest.raises(DicomError, match="no series has the UID '999'"):
        choose_series(tmp_path, "999")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("liver_1frame.dcm", "no image series, only 1 x SEG"),
        ("test-SR.dcm", "no image series, only 1 x SR"),
        ("rtdose.dcm", "only 1 x RTDOSE"),
        ("MR_truncated.dcm", r"MR_truncated.dcm: truncated, \d+ bytes of pixel data are missing"),
        ("badVR.dcm", "badVR.dcm: NumberOfFrames in the header is not a number"),
    ],
)
def test_unusable_files_are_named(name: str, pattern: str) -> None:
    with pytest.raises(DicomError, match=pattern):
        choose_series(carried(name))


def test_missing_and_empty_paths(tmp_path: Path) -> None:
    with pytest.raises(DicomError, match="no such file or folder"):
        open_dicom(tmp_path / "nowhere")
    (tmp_path / "readme.dcm").write_text("only the name is DICOM")
    with pytest.raises(DicomError, match=r"no DICOM file found \(1 other file"):
        open_dicom(tmp_path)


def test_a_truncated_file_in_another_series_does_not_matter(tmp_path: Path) -> None:
    make_ct(tmp_path / "good", 2, series_uid="1.2.826.0.1.7")
    shutil.copy(carried("MR_truncated.dcm"), tmp_path)
    assert len(choose_series(tmp_path, "1.2.826.0.1.7")) == 2


@pytest.mark.parametrize("keep", [140, 300, 700, 4000])
def test_a_file_cut_anywhere_gives_our_error(tmp_path: Path, keep: int) -> None:
    path = make_ct(tmp_path, 1)[0]
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DicomError):
        choose_series(tmp_path)


def test_a_cut_compressed_file_gives_our_error(tmp_path: Path) -> None:
    data = carried("MR_small_jpeg_ls_lossless.dcm").read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(data[: len(data) - 800])
    with pytest.raises(DicomError, match="cut.dcm"):
        choose_series(path)


def test_broken_headers_are_repaired_and_said_without_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in make_ct(tmp_path, 2):
        dataset = dcmread(path)
        dataset.SpecificCharacterSet = "UNKNOWN_42"
        dataset.PatientName = "Secret^Name"
        del dataset.PatientID
        dataset.save_as(path)
    with caplog.at_level(logging.DEBUG):
        series = choose_series(tmp_path)
    assert series.headers[0].SpecificCharacterSet == "ISO_IR 100"
    assert series.headers[0].PatientID is None or series.headers[0].PatientID == ""
    assert "missing PatientID left empty (2 file(s))" in series.repairs
    assert "repaired in memory" in caplog.text and "Secret" not in caplog.text


def test_a_damaged_element_is_left_out_or_refused_as_it_is_needed(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    good = path.read_bytes()
    weight, position = good.index(b"\x10\x00\x30\x10DS"), good.index(b"\x20\x00\x32\x00DS")
    path.write_bytes(good[: weight + 5] + b"\xff" + good[weight + 6 :])  # no such value representation
    assert "damaged PatientWeight left out (1 file(s))" in choose_series(tmp_path).repairs
    path.write_bytes(good[: position + 5] + b"\xff" + good[position + 6 :])
    with pytest.raises(DicomError, match="ImagePositionPatient in the header is damaged"):
        choose_series(tmp_path)


def test_a_scout_of_another_size_is_refused(tmp_path: Path) -> None:
    uid = generate_uid(prefix=None)
    stack = dcmread(make_ct(tmp_path / "stack", 2, series_uid=uid)[0])
    (scout,) = make_ct(tmp_path / "scout", 1, series_uid=uid, shape=(40, 40))
    dataset = dcmread(scout)
    dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = stack.StudyInstanceUID, stack.FrameOfReferenceUID
    dataset.save_as(scout)
    with pytest.raises(DicomError, match="mixes image sizes"):
        choose_series(tmp_path)


def test_a_copied_file_counts_once(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 2)[0]
    shutil.copy(path, tmp_path / "copy")
    series = choose_series(tmp_path)
    assert len(series) == 2 and "second file with the same SOP Instance UID left out (1 file(s))" in series.repairs


def test_files_without_preamble_are_read(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    data = path.read_bytes()
    body = data.index(b"\x08\x00\x05\x00CS")
    path.write_bytes(data[body:])
    assert choose_series(tmp_path).load(0)[0].pixel_array[0, 0] == 1000


def test_frames_of_a_multi_frame_image_are_slices() -> None:
    series = choose_series(carried("examples_ybr_color.dcm"))
    assert series.shape == (30, 240, 320)
    assert series.locate(29) == (0, 29)
    with pytest.raises(IndexError):
        series.locate(30)


def test_an_xray_is_a_series_of_one_slice(tmp_path: Path) -> None:
    series = choose_series(make_xray(tmp_path / "x"))
    assert series.shape == (1, 30, 20) and series.voxel_ml is None


def test_the_real_ct() -> None:
    series = choose_series(need_ct())
    heights = [float(h.ImagePositionPatient[2]) for h in series.headers]
    assert series.shape == (3, 512, 512) and heights == sorted(heights)
    assert series.repairs == ("empty or unknown SpecificCharacterSet read as ISO_IR 100 (3 file(s))",)
