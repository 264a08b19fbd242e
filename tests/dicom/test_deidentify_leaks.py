"""What once got through de-identification, and its relatives; each stays closed."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import SecondaryCaptureImageStorage

from medreasoner_monai.dicom.deidentify import deidentify
from medreasoner_monai.errors import DicomError
from tests.dicom.test_deidentify import KEY
from tests.dicom.tools import make_ct, saved


@pytest.mark.parametrize("page", ["SCREEN SAVE", "DOSE_INFO"])
def test_a_dose_page_of_a_ct_is_not_copied_unseen(page: str, tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    dataset = dcmread(path)
    dataset.ImageType = ["DERIVED", "SECONDARY", page]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    saved(dataset, path)
    with pytest.raises(DicomError, match="its picture may have text in it"):
        deidentify(path, tmp_path / "out.dcm", key=KEY)
    assert not (tmp_path / "out.dcm").exists()


def test_private_dates_and_times_go_when_dates_are_shifted(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    dataset = dcmread(path)
    for holder in (dataset, item := Dataset()):
        holder.add_new(0x00090010, "LO", "ACME")
        holder.add_new(0x00091001, "DA", "19610417")
        holder.add_new(0x00091002, "TM", "101112")
        holder.add_new(0x00091003, "DT", "19610417101112")
    dataset.AnatomicRegionSequence = [item]
    saved(dataset, path)
    deidentify(path, tmp_path / "out.dcm", key=KEY, dates="shift")
    out = dcmread(tmp_path / "out.dcm")
    assert not [e.tag for e in out.iterall() if e.tag.is_private]
    assert b"101112" not in (tmp_path / "out.dcm").read_bytes()


def test_text_in_a_number_goes(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    data = path.read_bytes()
    at = data.index(b"\x18\x00\x50\x00DS")
    length = int.from_bytes(data[at + 6 : at + 8], "little")
    path.write_bytes(data[: at + 6] + b"\x0c\x00" + b"Quartermain " + data[at + 8 + length :])
    deidentify(path, tmp_path / "out.dcm", key=KEY)
    assert b"Quarterm" not in (tmp_path / "out.dcm").read_bytes()
