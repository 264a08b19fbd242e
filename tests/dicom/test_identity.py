"""One series is of one patient, one study, one frame of reference and one kind of image; else it is refused."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.fileset import FileSet

from medreasoner_monai.dicom.dicomweb import open_dicomweb
from medreasoner_monai.dicom.identity import contradictions
from medreasoner_monai.dicom.instance import Instance
from medreasoner_monai.dicom.memory import MemorySource
from medreasoner_monai.dicom.series import Found, choose_series, open_datasets, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.made import ORIGIN, a_finding, a_mask, write_seg
from tests.dicom.tools import make_clip, make_ct, make_xray, saved

NAME, ID = "Quartermain^Allan", "KU-4711"


def changed(path: Path, **values: object) -> Path:
    dataset = dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return saved(dataset, path)


@pytest.fixture
def stack(tmp_path: Path) -> list[Path]:
    """Four slices of one patient; the last is in a file of its own name."""
    paths = make_ct(tmp_path / "ct", 4)
    for path in paths:
        changed(path, PatientName=NAME, PatientID=ID, PatientBirthDate="19610417", PatientSex="M")
    return paths


OTHERS: dict[str, object] = {
    "PatientID": "KU-4712",
    "IssuerOfPatientID": "KUKUANALAND",
    "PatientName": "Quartermain^Harry",
    "PatientBirthDate": "19610418",
    "PatientSex": "F",
    "StudyInstanceUID": "1.2.826.0.1.77",
    "FrameOfReferenceUID": "1.2.826.0.1.78",
    "Modality": "MR",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.4",
    "PhotometricInterpretation": "MONOCHROME1",
}


def from_files(paths: list[Path]) -> Found:
    return open_dicom(paths[0].parent)


def from_memory(paths: list[Path]) -> Found:
    return open_datasets(dcmread(path) for path in paths)


def from_archive(paths: list[Path]) -> Found:
    target = paths[0].parent.with_name("scan.zip")
    with zipfile.ZipFile(target, "w") as out:
        for path in paths:
            out.write(path, path.name)
    return open_dicom(target)


class Archive:
    """A DICOMweb archive that holds data sets, as its client shows it."""

    def __init__(self, paths: list[Path]) -> None:
        self.held = {str((d := dcmread(p)).SOPInstanceUID): d for p in paths}
        self.study = str(next(iter(self.held.values())).StudyInstanceUID)

    def retrieve_study_metadata(self, _: str) -> list[dict[str, Any]]:
        return [{k: v for k, v in d.to_json_dict().items() if k != "7FE00010"} for d in self.held.values()]

    def retrieve_instance(self, _study: str, _series: str, uid: str, _types: object) -> Dataset:
        return self.held[uid]


def from_web(paths: list[Path]) -> Found:
    archive = Archive(paths)
    return open_dicomweb(archive, archive.study)  # type: ignore[arg-type]


WAYS = [from_files, from_memory, from_archive, from_web]


# An archive is asked for one study; the test but one after this is about what else it may answer.
EVERY = [(keyword, find) for keyword in OTHERS for find in WAYS if (keyword, find) != ("StudyInstanceUID", from_web)]


@pytest.mark.parametrize(("keyword", "find"), EVERY)
def test_one_slice_that_contradicts_the_others_is_refused(
    stack: list[Path], keyword: str, find: Callable[[list[Path]], Found]
) -> None:
    for path in stack if keyword == "IssuerOfPatientID" else ():
        changed(path, IssuerOfPatientID="ZULULAND")
    changed(stack[3], **{keyword: OTHERS[keyword]})
    odd = stack[3].name if find in (from_files, from_archive) else "…" + str(dcmread(stack[3]).SOPInstanceUID)[-12:]
    with pytest.raises(DicomError, match=f"the series mixes 2 values of {keyword}: ") as caught:
        find(stack).choose()
    message = str(caught.value)
    if find is not from_memory:  # its data sets still know the files that they came from
        assert odd in message.split(" against ")[0], "the odd one is named first"
    for value in (NAME, "Harry", ID, "KU-4712", "1961", "KUKUANA", str(OTHERS[keyword])):
        assert value not in message.replace(str(stack[0].parent), "") or value in ("M", "F", "MR")


def test_a_dicomdir_makes_no_difference(stack: list[Path], tmp_path: Path) -> None:
    changed(stack[0], PatientID="KU-4712")
    medium = FileSet()
    for number, path in enumerate(stack):
        medium.add(changed(path, StudyID="1", SeriesNumber=1, InstanceNumber=number))
    medium.write(tmp_path / "medium")
    with pytest.raises(DicomError, match="mixes 2 values of PatientID"):
        choose_series(tmp_path / "medium/DICOMDIR")


def test_an_archive_that_answers_with_another_study_is_refused(stack: list[Path]) -> None:
    archive = Archive(stack)
    with pytest.raises(DicomError, match="answered with 4 instance.s. of another StudyInstanceUID"):
        open_dicomweb(archive, "1.2.826.0.1.99")  # type: ignore[arg-type]


def test_an_archive_that_sends_another_patients_instance_is_refused(stack: list[Path]) -> None:
    archive = Archive(stack)
    series = open_dicomweb(archive, archive.study).choose()  # type: ignore[arg-type]
    archive.held[series.sop_instance_uid(1)].PatientID = "KU-4712"
    with pytest.raises(DicomError, match="PatientID is not the one that was read before"):
        series.view(1)
    assert series.view(2).pixels.shape == (24, 32)


def test_a_file_that_was_replaced_after_its_header_was_read_is_refused(stack: list[Path], tmp_path: Path) -> None:
    series = choose_series(stack[0].parent)
    assert series.sources[0].load().SOPInstanceUID == series.headers[0].SOPInstanceUID
    shutil.copy(make_ct(tmp_path / "other", 1)[0], str(series.sources[0].name))
    with pytest.raises(DicomError, match=r"InstanceUID is not the one that was read before; the file was replaced"):
        series.view(0)


@pytest.mark.parametrize(
    ("keyword", "one", "other"),
    [
        ("PatientName", "Quartermain^Allan", "QUARTERMAIN^ALLAN^^^"),
        ("PatientName", "Quartermain^Allan", " Quartermain ^Allan "),
        ("PatientName", "Yamada^Tarou=山田^太郎", "Yamada^Tarou"),
        ("PatientID", "4711", "4711 "),
        ("IssuerOfPatientID", "HOSPITAL", ""),
        ("PatientBirthDate", "19610417", ""),
        ("PatientSex", "M", ""),
    ],
)
def test_the_same_value_written_in_another_way_is_no_contradiction(
    stack: list[Path], keyword: str, one: str, other: str
) -> None:
    for path in stack:
        changed(path, SpecificCharacterSet="ISO_IR 192", **{keyword: one})
    changed(stack[2], **{keyword: other})
    assert len(choose_series(stack[0].parent)) == 4


@pytest.mark.parametrize(("one", "other"), [("0815", "815"), ("a1", "A1"), ("4711", "47 11")])
def test_ids_are_not_made_alike(stack: list[Path], one: str, other: str) -> None:
    for path in stack:
        changed(path, PatientID=one)
    changed(stack[1], PatientID=other)
    with pytest.raises(DicomError, match="mixes 2 values of PatientID"):
        choose_series(stack[0].parent)


def test_an_empty_id_is_filled_in_where_the_name_says_whose_it_is(stack: list[Path], tmp_path: Path) -> None:
    """Objects are made from the first header, which must not be the one that says nothing."""
    for path in stack[:3]:
        dataset = dcmread(path)
        dataset.PatientID, dataset.PatientBirthDate = "", ""
        dataset.save_as(path)
    series = choose_series(stack[0].parent)
    assert {str(h.PatientID) for h in series.headers} == {ID}
    assert "empty PatientID filled in from the other files of the series (3 file(s))" in series.repairs
    write_seg(series, [a_finding(series, {1: a_mask(series)})], ORIGIN, tmp_path / "seg.dcm")
    assert dcmread(tmp_path / "seg.dcm").PatientID == ID


def test_a_slice_that_says_of_nobody_beside_slices_of_a_patient_is_refused(stack: list[Path]) -> None:
    changed(stack[3], PatientID="", PatientName="")
    with pytest.raises(DicomError, match=r"with and without PatientID and PatientName: .*file43 do not say whose"):
        choose_series(stack[0].parent)
    for path in stack:
        changed(path, PatientID="", PatientName="")
    assert len(choose_series(stack[0].parent)) == 4, "a series of nobody is of one nobody"


def test_stills_and_clips_of_ultrasound_are_one_series(tmp_path: Path) -> None:
    clip = dcmread(make_clip(tmp_path / "clip"))
    still = dcmread(make_clip(tmp_path / "still", 1))
    still.SOPClassUID = still.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.6.1"
    still.SeriesInstanceUID, still.StudyInstanceUID = clip.SeriesInstanceUID, clip.StudyInstanceUID
    still.save_as(tmp_path / "still")
    found = open_dicom(tmp_path)
    assert sorted(len(s) for s in found.series) == [1, 4]
    assert all(not s.problems for s in found.series)


def test_colour_and_grey_are_not_one_series(tmp_path: Path) -> None:
    one = dcmread(make_xray(tmp_path / "one"))
    other = dcmread(make_xray(tmp_path / "other"))
    other.SeriesInstanceUID, other.StudyInstanceUID = one.SeriesInstanceUID, one.StudyInstanceUID
    other.PhotometricInterpretation, other.SamplesPerPixel, other.PlanarConfiguration = "RGB", 3, 0
    other.BitsAllocated, other.BitsStored, other.HighBit = 8, 8, 7
    other.PixelData = np.zeros((30, 20, 3), np.uint8).tobytes()
    other.save_as(tmp_path / "other")
    with pytest.raises(DicomError, match="mixes 2 values of PhotometricInterpretation"):
        choose_series(tmp_path)


def test_a_folder_of_two_patients_is_not_chosen_from_automatically(stack: list[Path], tmp_path: Path) -> None:
    for path in make_ct(tmp_path / "other", 2):
        changed(path, PatientID="KU-4712", PatientName="Quartermain^Harry")
    with pytest.raises(DicomError, match="holds images of 2 patients") as caught:
        choose_series(tmp_path, "auto")
    assert "KU-47" not in str(caught.value)
    series = choose_series(tmp_path, str(dcmread(stack[0]).SeriesInstanceUID))
    assert "the place holds images of 2 patients, and this series is of one of them" in series.because


def instance(number: int, **values: object) -> Instance:
    header = Dataset()
    for keyword, value in values.items():
        setattr(header, keyword, value)
    return Instance(MemorySource(f"file{number}", header), header, None)


PLAIN = st.text(alphabet="ABCDEFGHKLM0123456789", min_size=1, max_size=12)


@given(PLAIN, PLAIN, st.integers(1, 6), st.integers(1, 6))
def test_any_two_ids_differ_and_any_one_does_not(one: str, other: str, many: int, few: int) -> None:
    files = [instance(i, PatientID=one) for i in range(many)]
    files += [instance(many + i, PatientID=other + " ") for i in range(few)]
    said = list(contradictions(files))
    assert len(said) == (one != other)
    for text in said:
        rest = text.split(": ", 1)[1].split(";")[0]
        assert rest.count("file") == min(many, 3) + min(few, 3)
        assert text.startswith("the series mixes 2 values of PatientID: ")
