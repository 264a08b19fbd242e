"""What is exported for research says nothing of the patient, stays valid, and still belongs together."""

import subprocess
from datetime import date
from pathlib import Path

import gdcm
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import DataElement, Dataset, dcmread
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.tag import Tag
from pydicom.uid import UID

from medreasoner_monai.dicom.deidentify import deidentify
from medreasoner_monai.dicom.deidentify_values import shifted
from medreasoner_monai.dicom.overlay import overlay
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import DicomError, InputError
from medreasoner_monai.task.findings import Finding
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom.made import (
    ORIGIN,
    a_finding,
    a_mask,
    make_series,
    nothing_found,
    write_capture,
    write_report,
    write_seg,
)
from tests.dicom.tools import carried, dciodvfy_errors, make_ct, need_tool, paths_of

KEY = b"a secret of sixteen or more bytes"
NAME, BIRTH, HOSPITAL = "Quartermain^Allan", "19610417", "Hospital of Kukuanaland"
QUESTION = "Does Mr Quartermain of ward 7 have a large liver?"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A CT with who the patient is, and SEG, SR and SC of it."""
    for path in make_ct(tmp_path / "ct", 3):
        dataset = dcmread(path)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = NAME, "KU-4711", BIRTH
        dataset.PatientSex, dataset.PatientAge, dataset.PatientWeight = "M", "063Y", 82
        dataset.InstitutionName, dataset.ReferringPhysicianName = HOSPITAL, "Good^Dr"
        dataset.StudyDescription = dataset.ImageComments = f"CT of {NAME}"
        dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20240301", "101500", "ACC7711"
        dataset.add_new(0x00090010, "LO", "ACME")
        dataset.add_new(0x00091001, "LO", NAME)
        request = Dataset()
        request.RequestedProcedureDescription = NAME
        dataset.RequestAttributesSequence = [request]
        dataset.save_as(path)
    series, finding = subject(tmp_path)
    findings = [finding, nothing_found(series, [0])]
    write_seg(series, findings, ORIGIN, tmp_path / "seg.dcm")
    write_report(series, findings, ORIGIN, tmp_path / "sr.dcm", seg=tmp_path / "seg.dcm")
    picture = overlay(np.zeros((50, 50), np.uint8), None, None, None, question="?")
    write_capture(series, picture, tmp_path / "sc.dcm", key=1)
    return tmp_path


def subject(folder: Path) -> tuple[Series, Finding]:
    series = choose_series(folder / "ct")
    masks = {1: a_mask(series), 2: a_mask(series, 3, 12)}
    return series, a_finding(series, masks, question=QUESTION, trace=f"{NAME} has one.", codes=codes_for("liver"))


def exported(study: Path, **options: object) -> dict[str, Dataset]:
    out = study / "out"
    out.mkdir(exist_ok=True)
    ct = paths_of(choose_series(study / "ct"))
    paths = {"seg": study / "seg.dcm", "sr": study / "sr.dcm", "sc": study / "sc.dcm"}
    paths |= {f"ct{i}": path for i, path in enumerate(ct)}
    for name, path in paths.items():
        deidentify(path, out / f"{name}.dcm", key=KEY, pixels_checked=True, **options)  # type: ignore[arg-type]
    return {name: dcmread(out / f"{name}.dcm") for name in paths}


def test_nothing_of_the_patient_is_left_in_the_files_bytes(study: Path) -> None:
    exported(study)
    told = ["Quartermain", "KU-4711", BIRTH, HOSPITAL, "Good^Dr", "ACC7711", "20240301", "ward 7", "063Y"]
    series = choose_series(study / "ct")
    told += [series.uid, str(series.headers[0].StudyInstanceUID), *(str(h.SOPInstanceUID) for h in series.headers)]
    for path in (study / "out").iterdir():
        data = path.read_bytes()
        assert [text for text in told if text.encode() in data] == [], path.name


def test_what_is_exported_is_valid_and_marked(study: Path) -> None:
    for name, dataset in exported(study).items():
        path = study / "out" / f"{name}.dcm"
        original = study / f"{name}.dcm" if name[:2] != "ct" else paths_of(choose_series(study / "ct"))[int(name[2])]
        # The made CT has faults of its own; what we wrote has none.
        assert set(dciodvfy_errors(path)) <= set(dciodvfy_errors(original))
        tool = need_tool("dcmftest", "apt-get install dcmtk")
        assert subprocess.run([tool, path], capture_output=True).returncode == 0
        assert dataset.PatientIdentityRemoved == "YES" and dataset.LongitudinalTemporalInformationModified == "REMOVED"
        methods = [c.CodeValue for c in dataset.DeidentificationMethodCodeSequence]
        assert methods == (["113100", "113104"] if name == "sr" else ["113100"])
        assert dataset.PatientName == dataset.PatientID != "" and dataset.PatientBirthDate == ""


def test_the_files_still_belong_together(study: Path) -> None:
    files = exported(study)
    images = [files[f"ct{i}"] for i in range(3)]
    assert len({f.PatientID for f in files.values()}) == len({f.StudyInstanceUID for f in files.values()}) == 1
    assert len({i.SeriesInstanceUID for i in images}) == len({i.FrameOfReferenceUID for i in images}) == 1
    seg, report, capture = files["seg"], files["sr"], files["sc"]
    sources = [
        item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        for item in seg.PerFrameFunctionalGroupsSequence
    ]
    assert sorted(sources) == sorted(i.SOPInstanceUID for i in images[1:])
    assert seg.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    assert capture.SourceImageSequence[0].ReferencedSOPInstanceUID == images[1].SOPInstanceUID
    uids = {e.value for e in report.iterall() if e.VR == "UI"}
    assert {seg.SOPInstanceUID, seg.SegmentSequence[0].TrackingUID, images[1].SOPInstanceUID} <= uids
    texts = {e.value for e in report.iterall() if e.keyword == "TextValue"}
    assert seg.SegmentSequence[0].TrackingID in texts
    assert choose_series(study / "out/ct0.dcm").headers[0].SOPInstanceUID == images[0].SOPInstanceUID


def test_pixels_codes_and_measurements_are_unchanged(study: Path) -> None:
    files = exported(study)
    for name in ("seg", "sc"):
        assert files[name].PixelData == dcmread(study / f"{name}.dcm").PixelData
    kind = files["seg"].SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodeMeaning, files["seg"].SegmentSequence[0].SegmentLabel) == (
        "10200004",
        "Liver",
        "Liver",
    )

    def numbers(dataset: Dataset) -> list[str]:
        return [str(e.value) for e in dataset.iterall() if e.keyword in ("NumericValue", "GraphicData")]

    before = dcmread(study / "sr.dcm")
    assert numbers(files["sr"]) == numbers(before) != []
    for digest in ("a1", "c3", "e5"):
        assert any(digest * 32 in str(e.value) for e in files["sr"].iterall() if e.keyword == "TextValue")


def test_texts_stay_when_somebody_read_them(study: Path) -> None:
    texts = [e.value for e in exported(study)["sr"].iterall() if e.keyword == "TextValue"]
    assert "removed" in texts and QUESTION not in texts
    kept = exported(study, keep_texts=True)
    assert QUESTION in [e.value for e in kept["sr"].iterall() if e.keyword == "TextValue"]
    assert QUESTION in kept["seg"].SegmentSequence[0].SegmentDescription


def test_shifted_dates_keep_their_distances(study: Path) -> None:
    series, _ = subject(study)
    dataset = dcmread(paths_of(series)[0])
    dataset.AcquisitionDate, dataset.AcquisitionDateTime = "20240302", "20240302110000.5"
    dataset.save_as(paths_of(series)[0])
    out = exported(study, dates="shift")["ct0"]
    assert out.LongitudinalTemporalInformationModified == "MODIFIED"
    assert "113107" in [c.CodeValue for c in out.DeidentificationMethodCodeSequence]
    assert shifted(out.AcquisitionDate, 1) == out.StudyDate != "20240301"
    assert out.AcquisitionDateTime == f"{out.AcquisitionDate}110000.5"
    assert out.StudyTime == "101500" and out.PatientBirthDate == ""


def test_another_key_gives_another_patient(study: Path) -> None:
    results = [deidentify(study / "seg.dcm", study / f"{i}.dcm", key=k) for i, k in enumerate((KEY, KEY, KEY[::-1]))]
    same, again, other = (r.sop_instance_uid for r in results)
    assert same == again != other
    assert UID(same).is_valid and same.startswith("2.25.") and len(same) <= 64
    assert "SegmentDescription" in results[0].removed
    assert dcmread(study / "2.dcm").PatientID != dcmread(study / "0.dcm").PatientID


def test_every_attribute_of_gdcms_basic_profile_goes(tmp_path: Path) -> None:
    """GDCM carries an older edition of the profile's table: none of its values may pass, at the top or nested."""
    values = {"DA": "20200102", "TM": "101112", "DT": "20200102101112", "UI": "1.2.3.4.5", "CS": "SECRET", "AS": "034Y"}
    dataset, item = dcmread(make_ct(tmp_path / "ct", 1)[0]), Dataset()
    for name in gdcm.Anonymizer.GetBasicApplicationLevelConfidentialityProfileAttributes():
        tag = Tag(name.GetGroup(), name.GetElement())
        vr = dictionary_VR(tag)
        if vr == "SQ" or keyword_for_tag(tag) in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
            continue
        element = DataElement(tag, vr, values.get(vr, 7 if vr in ("DS", "IS", "US") else "SECRET"))
        dataset.add(element)
        item.add(element)
    dataset.SourceImageSequence = [item]
    dataset.save_as(tmp_path / "in.dcm")
    deidentify(tmp_path / "in.dcm", tmp_path / "out.dcm", key=KEY)
    out = dcmread(tmp_path / "out.dcm")
    left = [e.keyword for e in out.iterall() if str(e.value) in ("SECRET", "7", *values.values())]
    assert left == []


def test_a_picture_with_text_in_it_waits_for_somebody_to_look(study: Path) -> None:
    with pytest.raises(
        DicomError, match=r"sc.dcm: its picture may have text in it, or a face \(BurnedInAnnotation is YES"
    ):
        deidentify(study / "sc.dcm", study / "out.dcm", key=KEY)
    ultrasound = carried("examples_rgb_color.dcm")
    with pytest.raises(DicomError, match="BurnedInAnnotation is not said"):
        deidentify(ultrasound, study / "out.dcm", key=KEY)
    assert not (study / "out.dcm").exists()


def test_a_short_key_and_what_is_no_image_are_refused(study: Path) -> None:
    with pytest.raises(InputError, match="the key has 3 bytes, at least 16"):
        deidentify(study / "seg.dcm", study / "out.dcm", key=b"abc")
    with pytest.raises(DicomError, match="neither an image nor a structured report"):
        deidentify(carried("rtplan.dcm"), study / "out.dcm", key=KEY)


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "693_J2KI.dcm"])
def test_pixels_of_other_encodings_come_along(name: str, tmp_path: Path) -> None:
    deidentify(carried(name), tmp_path / "out.dcm", key=KEY, pixels_checked=True)
    before, after = dcmread(carried(name)), dcmread(tmp_path / "out.dcm")
    assert after.file_meta.TransferSyntaxUID == before.file_meta.TransferSyntaxUID
    assert np.array_equal(after.pixel_array, before.pixel_array)


def test_a_clip_keeps_its_frames_and_calibration(tmp_path: Path) -> None:
    series = make_series("US, clip", tmp_path / "in")
    deidentify(paths_of(series)[0], tmp_path / "out.dcm", key=KEY, pixels_checked=True)
    out = dcmread(tmp_path / "out.dcm")
    assert out.NumberOfFrames == 5 and out.SequenceOfUltrasoundRegions[0].PhysicalDeltaX == 0.05


@given(st.dates(min_value=date(1911, 1, 1)), st.integers(1, 3650))
def test_any_date_moves_by_whole_days(day: date, days: int) -> None:
    text = f"{day:%Y%m%d}"
    moved = shifted(text, days)
    assert moved is not None and shifted(f"{text}120000", days) == f"{moved}120000" and moved < text


@pytest.mark.parametrize("text", ["", "2024", "19000230", "unknown", "2024.03.01"])
def test_what_is_no_date_is_not_shifted(text: str) -> None:
    assert shifted(text, 5) is None
