"""What is written is read back by others: pydicom, highdicom, dcmqi, and two validators."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset, dcmread

from medreasoner_monai.dicom.seg import EmptyMaskError, SegKind
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.findings import Finding
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom.made import (
    KINDS,
    ORIGIN,
    a_finding,
    a_mask,
    abstained,
    make_enhanced,
    make_series,
    nothing_found,
    write_seg,
)
from tests.dicom.tools import carried, dciodvfy_errors, make_ct, need_ct, need_tool

Frames = dict[tuple[int, str, int], np.ndarray]
"""Frames by segment, SOP Instance UID and frame (from 1, or 0) of their source."""


def frames_of(path: Path) -> Frames:
    """Each frame of a segmentation by what it says it is of, unpacked by pydicom, without highdicom's tables."""
    seg = dcmread(path)
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    out = {}
    for item, frame in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        groups = item if "SegmentIdentificationSequence" in item else shared
        segment = 0
        if "SegmentIdentificationSequence" in groups:
            segment = int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        source = item.DerivationImageSequence[0].SourceImageSequence[0]
        out[segment, source.ReferencedSOPInstanceUID, int(source.get("ReferencedFrameNumber") or 0)] = frame
    return out


def expected(series: Series, findings: list[Finding]) -> Frames:
    out = {}
    for number, finding in enumerate(findings, 1):
        for index, mask in finding.marked.items():
            file, frame = series.locate(index)
            multi = int(series.headers[file].get("NumberOfFrames") or 1) > 1
            out[number, series.sop_instance_uid(index), frame + 1 if multi else 0] = mask
    return out


def assert_same(found: Frames, wanted: Mapping[tuple[int, str, int], np.ndarray]) -> None:
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[place] > 0, wanted[place]) for place in wanted)


def valid(path: Path) -> None:
    assert dciodvfy_errors(path) == []
    done = subprocess.run([need_tool("dcmftest", "apt-get install dcmtk"), path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def through_dcmqi(path: Path, out: Path) -> list[tuple[np.ndarray, dict]]:
    """Each segment as dcmqi sees it: boolean, in NRRD's axes (x, y, z), and its geometry."""
    tool = need_tool("segimage2itkimage", "pip install dcmqi")
    out.mkdir(exist_ok=True)
    command = [tool, "--inputDICOM", path, "--outputDirectory", out, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    read = [nrrd.read(str(file)) for file in sorted(out.glob("*.nrrd"), key=lambda f: int(f.stem))]
    return [(data > 0, header) for data, header in read]


def test_three_reference_organs_come_back_voxel_by_voxel(tmp_path: Path) -> None:
    folder = need_ct()
    series = choose_series(folder)
    # NRRD axes are (x, y, z), its slices from the lowest upwards like ours.
    volumes = [
        nrrd.read(str(folder / f"segmentations/{name}_seg.nrrd"))[0].transpose(2, 1, 0) > 0
        for name in ("liver", "spine", "heart")
    ]
    codes = [codes_for(name) for name in ("liver", "vertebra", "heart")]
    findings = [a_finding(series, dict(enumerate(v)), codes=c) for v, c in zip(volumes, codes, strict=True)]
    path = tmp_path / "seg.dcm"
    write_seg(series, findings, ORIGIN, path)
    valid(path)
    assert_same(frames_of(path), expected(series, findings))

    uids = [h.SOPInstanceUID for h in series.headers]
    segmentation = hd.seg.segread(path)
    through_highdicom = segmentation.get_pixels_by_source_instance(uids, assert_missing_frames_are_empty=True)
    assert np.array_equal(np.moveaxis(through_highdicom, -1, 0) > 0, np.stack(volumes))

    heights = [float(h.ImagePositionPatient[2]) for h in series.headers]
    for (data, header), volume in zip(through_dcmqi(path, tmp_path / "nrrd"), volumes, strict=True):
        # dcmqi gives the slices from the segment's first marked one on.
        first = int(np.argmin(np.abs(np.array(heights) - header["space origin"][2])))
        here = data.transpose(2, 1, 0)
        assert np.array_equal(here, volume[first : first + len(here)])
        assert here.sum() == volume.sum()
        assert header["space origin"][:2] == pytest.approx(
            [float(v) for v in series.headers[0].ImagePositionPatient[:2]], abs=1e-3
        )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_a_valid_object(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path / "in")
    last = len(series) - 1
    findings = [
        a_finding(series, {last: a_mask(series)}, codes=codes_for("left kidney")),
        nothing_found(series, [0]),
        a_finding(series, {0: a_mask(series, 1, 4), last: a_mask(series, 3, 12)}, codes=codes_for("liver tumor")),
        abstained(series, 0),
    ]
    path = tmp_path / "seg.dcm"
    write_seg(series, findings, ORIGIN, path)
    valid(path)
    assert_same(frames_of(path), expected(series, [findings[0], findings[2]]))
    segments = dcmread(path).SegmentSequence
    assert [s.TrackingUID for s in segments] == [findings[0].tracking_uid, findings[2].tracking_uid]


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "693_J2KI.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_rle.dcm", "MR_small_jp2klossless.dcm"]
)
def test_carried_files_of_other_encodings_are_referred_to(name: str, tmp_path: Path) -> None:
    series = choose_series(carried(name))
    finding = a_finding(series, {len(series) - 1: a_mask(series)})
    write_seg(series, [finding], ORIGIN, tmp_path / "seg.dcm")
    valid(tmp_path / "seg.dcm")
    assert_same(frames_of(tmp_path / "seg.dcm"), expected(series, [finding]))


def test_oblique_and_not_square_lies_in_space_where_dcmqi_finds_it(tmp_path: Path) -> None:
    row, column, normal = (1, 0, 0), (0, 0.8, 0.6), (0, -0.6, 0.8)
    make_ct(tmp_path / "ct", 4, orientation=row + column, spacing=(0.5, 1.25), gap=2.5)
    series = choose_series(tmp_path / "ct")
    rng = np.random.default_rng(0)
    findings = [a_finding(series, {i: rng.random((24, 32)) > 0.7 for i in (0, 1, 3)}) for _ in range(2)]
    path = tmp_path / "seg.dcm"
    write_seg(series, findings, ORIGIN, path)
    valid(path)
    origin = np.array([-10.0, 20, 30])
    for (data, header), finding in zip(through_dcmqi(path, tmp_path / "nrrd"), findings, strict=True):
        to_space = np.array(header["space directions"], dtype=float)
        i, j, k = np.nonzero(data)
        theirs = np.array(header["space origin"]) + np.stack([i, j, k], axis=1) @ to_space
        marked = [(x, y, z) for z, m in finding.marked.items() for y, x in zip(*np.nonzero(m), strict=True)]
        steps = np.array([np.array(row) * 1.25, np.array(column) * 0.5, np.array(normal) * 2.5])
        ours = origin + np.array(marked) @ steps
        assert len(theirs) == len(ours)
        order = [np.lexsort(np.round(p, 2).T) for p in (theirs, ours)]
        assert np.allclose(theirs[order[0]], ours[order[1]], atol=2e-3)
    assert int(dcmread(path).NumberOfFrames) == 6, "the empty slice is left out"


@settings(max_examples=15)
@given(volumes=st.lists(arrays(np.bool_, (3, 24, 32)), min_size=1, max_size=3))
def test_any_masks_come_back_whether_they_overlap_or_not(
    volumes: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    series = make_series("CT, three slices", folder)
    findings = [a_finding(series, dict(enumerate(v))) for v in volumes if v.any()]
    if not findings:
        return
    write_seg(series, findings, ORIGIN, folder / "seg.dcm")
    assert_same(frames_of(folder / "seg.dcm"), expected(series, findings))


def test_labelmap_holds_all_findings_in_one_frame_a_slice(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    upper, lower = a_mask(series, 0, 8), a_mask(series, 10, 20)
    path = tmp_path / "seg.dcm"
    write_seg(series, [a_finding(series, {1: upper}), a_finding(series, {1: lower})], ORIGIN, path, kind="labelmap")
    seg = dcmread(path)
    assert seg.SegmentationType == "LABELMAP" and int(seg.NumberOfFrames) == 1
    assert np.array_equal(seg.pixel_array.reshape(24, 32), np.where(upper, 1, np.where(lower, 2, 0)))
    through_highdicom = hd.seg.segread(path).get_pixels_by_source_instance([series.sop_instance_uid(1)])
    assert np.array_equal(through_highdicom[0, ..., 1] > 0, lower)
    # The validator predates label maps: it does not know the object, and wants segments counted from 1.
    assert all("Information Object Not found" in e or "SegmentNumber" in e for e in dciodvfy_errors(path))


def test_findings_that_share_pixels_are_no_labelmap(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    twice = [a_finding(series, {1: a_mask(series)}) for _ in range(2)]
    with pytest.raises(DicomError, match="findings share pixels on slice 1, and a labelmap holds one"):
        write_seg(series, twice, ORIGIN, tmp_path / "seg.dcm", kind="labelmap")
    write_seg(series, twice, ORIGIN, tmp_path / "seg.dcm")
    assert dcmread(tmp_path / "seg.dcm").SegmentsOverlap == "YES"


def test_a_clip_is_referred_to_frame_by_frame_and_lies_nowhere_in_space(tmp_path: Path) -> None:
    series = make_series("US, clip", tmp_path)
    path = tmp_path / "seg.dcm"
    write_seg(series, [a_finding(series, {1: a_mask(series), 4: a_mask(series, 5, 20)})], ORIGIN, path)
    seg = dcmread(path)
    assert [key[2] for key in frames_of(path)] == [2, 5]
    assert [i.FrameContentSequence[0].FrameLabel for i in seg.PerFrameFunctionalGroupsSequence] == [
        "source slice 2",
        "source slice 5",
    ]
    for element in seg.iterall():
        assert element.keyword not in {"FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient"}
        assert element.keyword not in {"PixelSpacing", "SliceThickness", "SpacingBetweenSlices"}
    # highdicom reads it too.
    read = hd.seg.segread(path).get_pixels_by_source_frame(series.sop_instance_uid(1), [2, 5])
    assert np.array_equal(read[1, ..., 0] > 0, a_mask(series, 5, 20))


def test_orientation_repeated_frame_by_frame_is_read_as_shared(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path)
    dataset = dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        for item in dataset.PerFrameFunctionalGroupsSequence:
            item.add(shared[name])
        del shared[name]
    dataset.save_as(path)
    series = choose_series(path)
    finding = a_finding(series, {0: a_mask(series), 2: a_mask(series)})
    write_seg(series, [finding], ORIGIN, tmp_path / "seg.dcm")
    valid(tmp_path / "seg.dcm")
    assert_same(frames_of(tmp_path / "seg.dcm"), expected(series, [finding]))
    assert "PlaneOrientationSequence" not in series.headers[0].SharedFunctionalGroupsSequence[0], "ours is untouched"


def test_segments_are_coded_with_region_and_side(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    names = ("left kidney", "lung nodule")
    findings = [a_finding(series, {1: a_mask(series)}, codes=codes_for(n)) for n in names]
    findings.append(a_finding(series, {1: a_mask(series)}))
    write_seg(series, findings, ORIGIN, tmp_path / "seg.dcm")
    kidney, nodule, unknown = dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert (kidney.SegmentLabel, nodule.SegmentLabel) == names
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert kind.CodeValue == "64033007" and kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert nodule.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert nodule.AnatomicRegionSequence[0].CodeMeaning == "Lung"
    assert unknown.SegmentLabel == "Answer to question" and "AnatomicRegionSequence" not in unknown
    # What is not known is neither anatomy nor a lesion: it may be either.
    category = unknown.SegmentedPropertyCategoryCodeSequence[0]
    assert (category.CodeValue, category.CodingSchemeDesignator) == ("309825002", "SCT")
    assert category.CodeMeaning == "Spatial and Relational Concept"
    assert unknown.SegmentedPropertyTypeCodeSequence[0].CodeMeaning == "Selected region"


def test_it_says_what_made_it(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    finding = a_finding(series, {0: a_mask(series)}, question="肝臓はどこですか? " + "y" * 2000)
    path = tmp_path / "seg.dcm"
    uid = write_seg(series, [finding], ORIGIN, path)
    dataset = dcmread(path)
    segment = dataset.SegmentSequence[0]
    identification = segment.SegmentationAlgorithmIdentificationSequence[0]
    assert dataset.SOPInstanceUID == uid and dataset.SegmentationType == "BINARY"
    assert dataset.SeriesDescription.startswith("Research use only: ")
    assert dataset.ContentLabel == "GROUNDING" and dataset.DeviceSerialNumber == "a1" * 32
    assert dataset.PatientName == series.headers[0].PatientName
    assert dataset.StudyInstanceUID == series.headers[0].StudyInstanceUID
    assert segment.SegmentAlgorithmType == "AUTOMATIC" and segment.TrackingUID == finding.tracking_uid
    assert len(segment.SegmentDescription.encode()) == 1024
    assert segment.SegmentDescription.startswith("Answer to: 肝臓はどこですか?")
    assert identification.AlgorithmName == "medreasoner-monai classical"
    assert identification.AlgorithmVersion == "0.3.1 a1a1a1a1a1a1"
    for digest in ("a1", "b2", "c3", "d4", "e5"):
        assert digest * 32 in identification.AlgorithmParameters
    assert dciodvfy_errors(path) == []


def test_a_name_in_latin_1_survives(tmp_path: Path) -> None:
    path = make_ct(tmp_path / "ct", 1)[0]
    dataset = dcmread(path)
    dataset.SpecificCharacterSet, dataset.PatientName = "ISO_IR 100", "Müller^Jörg"
    dataset.save_as(path)
    series = choose_series(tmp_path / "ct")
    write_seg(series, [a_finding(series, {0: a_mask(series)})], ORIGIN, tmp_path / "seg.dcm")
    assert str(dcmread(tmp_path / "seg.dcm").PatientName) == "Müller^Jörg"


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_nothing_found_is_not_written(kind: SegKind, tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    empty = a_finding(series, {0: np.zeros((128, 128), dtype=bool)})
    with pytest.raises(EmptyMaskError):
        write_seg(series, [empty, nothing_found(series, [0])], ORIGIN, tmp_path / "seg.dcm", kind=kind)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mask", [np.ones((128, 127), dtype=bool), np.ones((128, 128), dtype=np.uint8)])
def test_masks_of_another_shape_or_type_are_refused(mask: np.ndarray, tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(DicomError, match=r"masks must be bool of shape \(128, 128\)"):
        write_seg(series, [a_finding(series, {0: mask})], ORIGIN, tmp_path / "seg.dcm")


def test_a_slice_beyond_the_series_is_refused(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    with pytest.raises(DicomError, match="slice 1, but the series has 1 slices"):
        write_seg(series, [a_finding(series, {1: a_mask(series)})], ORIGIN, tmp_path / "seg.dcm")


def test_a_series_that_cannot_be_referred_to_leaves_nothing_behind(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path)
    dataset = dcmread(path)
    tilted = Dataset()
    tilted.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for item in dataset.PerFrameFunctionalGroupsSequence:
        item.add(shared["PlaneOrientationSequence"])
    dataset.PerFrameFunctionalGroupsSequence[1].PlaneOrientationSequence = [tilted]
    del shared.PlaneOrientationSequence
    dataset.save_as(path)
    series = choose_series(path)
    with pytest.raises(DicomError, match=f"{path}: no segmentation can refer to this series"):
        write_seg(series, [a_finding(series, {0: a_mask(series)})], ORIGIN, tmp_path / "seg.dcm")
    assert not (tmp_path / "seg.dcm").exists()
