"""What is written is read back by others: pydicom, highdicom, dcmqi, and two validators."""

import subprocess
from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pytest
from pydicom import dcmread

from medreasoner_monai.dicom.seg import EmptyMaskError, SegmentInfo, write_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, dciodvfy_errors, make_ct, make_xray, need_ct, need_tool


def some_mask(series: Series) -> np.ndarray:
    mask = np.zeros(series.shape, dtype=bool)
    mask[-1, 2:9, 3:7] = True
    return mask


def read_back(path: Path, series: Series) -> np.ndarray:
    seg = hd.seg.segread(path)
    found = seg.get_pixels_by_source_instance(
        [h.SOPInstanceUID for h in series.headers], combine_segments=True, assert_missing_frames_are_empty=True
    )
    return np.asarray(found) > 0


def test_the_reference_liver_comes_back_voxel_by_voxel(tmp_path: Path) -> None:
    folder = need_ct()
    series = choose_series(folder)
    # NRRD axes are (x, y, z), its slices from the lowest upwards like ours.
    liver = nrrd.read(str(folder / "segmentations/liver_seg.nrrd"))[0].transpose(2, 1, 0) > 0
    path = tmp_path / "seg.dcm"
    write_seg(series, liver, SegmentInfo(), path)
    assert np.array_equal(read_back(path, series), liver)
    plain = dcmread(path)
    heights = [float(h.ImagePositionPatient[2]) for h in series.headers]
    for item, frame in zip(plain.PerFrameFunctionalGroupsSequence, plain.pixel_array, strict=True):
        height = float(item.PlanePositionSequence[0].ImagePositionPatient[2])
        assert np.array_equal(frame > 0, liver[heights.index(height)])
    assert dciodvfy_errors(path) == []

    tool = need_tool("segimage2itkimage", "pip install dcmqi")
    subprocess.run(
        [tool, "--inputDICOM", path, "--outputDirectory", tmp_path, "-t", "nrrd"], check=True, capture_output=True
    )
    through_dcmqi, header = nrrd.read(str(tmp_path / "1.nrrd"))
    assert np.array_equal(through_dcmqi.transpose(2, 1, 0) > 0, liver)
    assert header["space origin"] == pytest.approx([float(v) for v in series.headers[0].ImagePositionPatient], abs=1e-3)


def test_oblique_and_non_square(tmp_path: Path) -> None:
    tilt = (1, 0, 0, 0, 0.8, 0.6)
    make_ct(tmp_path / "ct", 4, orientation=tilt, spacing=(0.5, 1.25))
    series = choose_series(tmp_path / "ct")
    mask = np.random.default_rng(0).random(series.shape) > 0.7
    mask[1] = False
    path = tmp_path / "seg.dcm"
    write_seg(series, mask, SegmentInfo(), path)
    assert np.array_equal(read_back(path, series), mask)
    assert int(dcmread(path).NumberOfFrames) == 3, "the empty slice is left out"
    assert dciodvfy_errors(path) == []


def made(name: str, folder: Path) -> Series:
    if name == "xray":
        return choose_series(make_xray(folder / "x"))
    return choose_series(carried(name))


SOURCES = [
    "CT_small.dcm",
    "MR_small_jp2klossless.dcm",
    "examples_rgb_color.dcm",
    "SC_rgb_rle.dcm",
    "JPEG2000.dcm",
    "693_J2KI.dcm",
    "ExplVR_BigEnd.dcm",
    "xray",
]


@pytest.mark.parametrize("name", SOURCES)
def test_every_kind_of_source_gives_a_valid_object(name: str, tmp_path: Path) -> None:
    series = made(name, tmp_path)
    path = tmp_path / "seg.dcm"
    write_seg(series, some_mask(series), SegmentInfo(description="Which part?"), path)
    assert np.array_equal(read_back(path, series), some_mask(series))
    assert dciodvfy_errors(path) == []
    done = subprocess.run([need_tool("dcmftest", "apt-get install dcmtk"), path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_an_enhanced_multi_frame_image_is_referred_to_frame_by_frame(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 3)
    single = choose_series(tmp_path / "ct")
    sources = [single.load(i)[0] for i in range(3)]
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=sources,
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
    )
    enhanced.save_as(tmp_path / "enhanced.dcm")
    series = choose_series(tmp_path / "enhanced.dcm")
    assert series.shape == (3, 24, 32) and series.voxel_ml == pytest.approx(single.voxel_ml)
    path = tmp_path / "seg.dcm"
    write_seg(series, some_mask(series), SegmentInfo(), path)
    seg = hd.seg.segread(path)
    found = seg.get_pixels_by_source_frame(
        series.headers[0].SOPInstanceUID, [1, 2, 3], combine_segments=True, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(found > 0, some_mask(series))


def test_a_clip_without_positions_is_refused_with_a_remedy(tmp_path: Path) -> None:
    series = choose_series(carried("examples_ybr_color.dcm"))
    with pytest.raises(DicomError, match="no segmentation can refer to this series"):
        write_seg(series, some_mask(series), SegmentInfo(), tmp_path / "seg.dcm")
    assert list(tmp_path.iterdir()) == []


def test_it_says_what_made_it(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    info = SegmentInfo(
        label="x" * 80,
        description="肝臓はどこですか? " + "y" * 2000,
        regions=(("818983003", "SCT", "Abdomen"),),
        algorithm="medreasoner-monai classical",
        version="0.1.0",
        parameters={"prompt": "abc"},
        serial="f" * 64,
    )
    path = tmp_path / "seg.dcm"
    uid = write_seg(series, some_mask(series), info, path)
    dataset = dcmread(path)
    segment = dataset.SegmentSequence[0]
    identification = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert dataset.SOPInstanceUID == uid and dataset.SegmentationType == "BINARY"
    assert dataset.SeriesDescription.startswith("Research use only: ")
    assert dataset.ContentLabel == "GROUNDING" and dataset.DeviceSerialNumber == "f" * 64
    assert dataset.PatientName == series.headers[0].PatientName
    assert dataset.StudyInstanceUID == series.headers[0].StudyInstanceUID
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and segment.TrackingUID == info.tracking_uid
    assert len(segment.SegmentLabel) == 64 and len(segment.SegmentDescription.encode()) == 1024
    assert segment.SegmentDescription.startswith("肝臓はどこですか?")
    assert segment.AnatomicRegionSequence[0].CodeMeaning == "Abdomen"
    assert identification.AlgorithmVersion == "0.1.0" and "abc" in identification.AlgorithmParameters
    assert dciodvfy_errors(path) == []


def test_a_name_in_latin_1_survives(tmp_path: Path) -> None:
    path = make_ct(tmp_path / "ct", 1)[0]
    dataset = dcmread(path)
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"
    dataset.save_as(path)
    series = choose_series(tmp_path / "ct")
    write_seg(series, some_mask(series), SegmentInfo(), tmp_path / "seg.dcm")
    assert str(dcmread(tmp_path / "seg.dcm").PatientName) == "Müller^Jörg"


def test_nothing_found_is_not_written(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(EmptyMaskError):
        write_seg(series, np.zeros(series.shape, dtype=bool), SegmentInfo(), tmp_path / "seg.dcm")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [np.ones((1, 128, 127), dtype=bool), np.ones((1, 128, 128), dtype=np.uint8)])
def test_masks_of_another_shape_or_type_are_refused(mask: np.ndarray, tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(DicomError, match=r"masks must be bool of shape \(1, 128, 128\)"):
        write_seg(series, mask, SegmentInfo(), tmp_path / "seg.dcm")
