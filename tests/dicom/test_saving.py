"""Files are written whole or not at all, and their label says what is in them."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import open_datasets
from medreasoner_monai.errors import DicomError
from tests.dicom.made import ORIGIN, a_finding, a_mask
from tests.dicom.tools import carried, dciodvfy_errors, make_ct


def test_the_label_names_what_is_in_the_file(tmp_path: Path) -> None:
    dataset = dcmread(carried("CT_small.dcm"))
    before = str(dataset.file_meta.MediaStorageSOPInstanceUID)
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    save(dataset, tmp_path / "ct.dcm")
    meta = read_file_meta_info(tmp_path / "ct.dcm")
    assert meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID != before
    assert meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert dataset.file_meta.MediaStorageSOPInstanceUID == before, "the data set itself is left as it is"
    again = dcmread(tmp_path / "ct.dcm")
    assert again == dataset and again.PixelData == dataset.PixelData


@pytest.mark.parametrize(
    "name", ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "SC_rgb_jpeg_gdcm.dcm", "image_dfl.dcm"]
)
def test_any_encoding_is_written_as_it_was(name: str, tmp_path: Path) -> None:
    dataset = dcmread(carried(name))
    save(dataset, tmp_path / name)
    again = dcmread(tmp_path / name)
    assert again.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert again == dataset and again.get("PixelData") == dataset.get("PixelData")


def test_a_file_that_cannot_be_written_leaves_the_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "out.dcm"
    save(dcmread(carried("CT_small.dcm")), path)
    earlier = path.read_bytes()
    broken = dcmread(carried("CT_small.dcm"))
    broken.PatientID = "ok"
    broken["PatientID"]._value = object()
    with pytest.raises(Exception, match="object"):
        save(broken, path)
    assert path.read_bytes() == earlier and [p.name for p in tmp_path.iterdir()] == ["out.dcm"]


@pytest.mark.parametrize("lacking", ["TransferSyntaxUID", "SOPClassUID", "SOPInstanceUID"])
def test_what_a_file_needs_is_asked_for(lacking: str, tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", generate_uid(prefix=None)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    delattr(dataset.file_meta if lacking == "TransferSyntaxUID" else dataset, lacking)
    with pytest.raises(DicomError, match=r"out.dcm: a data set is saved with its transfer syntax, SOP Class UID and"):
        save(dataset, tmp_path / "out.dcm")
    assert list(tmp_path.iterdir()) == []


def test_an_answer_is_made_in_memory_from_a_series_in_memory(tmp_path: Path) -> None:
    paths = make_ct(tmp_path / "ct", 3)
    series = open_datasets([dcmread(path) for path in paths]).choose()
    for path in paths:
        path.unlink()
    findings = [a_finding(series, {0: a_mask(series), 1: a_mask(series)})]
    seg = build_seg(series, findings, ORIGIN)
    report = build_report(series, findings, ORIGIN, seg=seg)
    assert list((tmp_path / "ct").iterdir()) == []
    referenced = [
        str(instance.ReferencedSOPInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for part in study.ReferencedSeriesSequence
        for instance in part.ReferencedSOPSequence
    ]
    assert str(seg.SOPInstanceUID) in referenced
    for name, dataset in (("seg.dcm", seg), ("sr.dcm", report)):
        save(dataset, tmp_path / name)
        assert dciodvfy_errors(tmp_path / name) == []
