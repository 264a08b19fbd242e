"""A DICOMDIR against the files beside it; the DICOMDIRs are written by pydicom."""

from pathlib import Path

import pydicom
import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from medreasoner_monai.dicom.directory import is_directory, listed, notes
from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import make_ct, paths_of


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A file set of two series of 3 and 2 slices."""
    files = FileSet()
    for name, count in (("1.2.826.0.1.1", 3), ("1.2.826.0.1.2", 2)):
        for path in make_ct(tmp_path / name, count, series_uid=name):
            files.add(path)
    files.write(tmp_path / "medium")
    return tmp_path / "medium"


def test_a_dicomdir_or_its_folder_is_read_alike(medium: Path) -> None:
    for path in (medium / "DICOMDIR", medium):
        assert [(s.uid, len(s), s.notes) for s in open_dicom(path).series] == [
            (uid, count, (f"no window in the file, shown centre 40, width 400 ({count} file(s))",))
            for uid, count in (("1.2.826.0.1.1", 3), ("1.2.826.0.1.2", 2))
        ]


def test_a_listed_file_that_is_missing_is_said(medium: Path) -> None:
    gone = paths_of(choose_series(medium, "1.2.826.0.1.1"))[1]
    gone.unlink()
    first, second = open_dicom(medium).series
    assert "the DICOMDIR lists 1 file(s) of this series that are not there" in first.notes
    assert not any("DICOMDIR" in n for n in second.notes)


def test_a_whole_series_that_is_missing_is_said(medium: Path) -> None:
    for path in paths_of(choose_series(medium, "1.2.826.0.1.2")):
        path.unlink()
    series = choose_series(medium / "DICOMDIR")
    assert "the DICOMDIR lists 2 more file(s) that are not there" in series.notes
    for path in paths_of(series):
        path.unlink()
    with pytest.raises(DicomError, match=r"the DICOMDIR lists 5 file\(s\), but no image file is there"):
        choose_series(medium)


def test_a_file_that_is_not_listed_is_found_all_the_same(medium: Path) -> None:
    make_ct(medium / "extra", 4, series_uid="1.2.826.0.1.3")
    extra = open_dicom(medium / "DICOMDIR").series[2]
    assert len(extra) == 4 and "4 file(s) of this series are not listed in the DICOMDIR" in extra.notes


def test_names_in_lower_case_are_the_listed_ones(medium: Path) -> None:
    for path in sorted(medium.rglob("*"), reverse=True):
        path.rename(path.with_name(path.name.lower()))
    assert not any("DICOMDIR" in n for s in open_dicom(medium).series for n in s.notes)


def test_records_that_point_in_a_circle_end(medium: Path) -> None:
    directory = dcmread(medium / "DICOMDIR")
    items = directory.DirectoryRecordSequence
    for item in items:
        item.OffsetOfTheNextDirectoryRecord = items[0].seq_item_tell
        item.OffsetOfReferencedLowerLevelDirectoryEntity = items[0].seq_item_tell
    assert sum(len(ids) for ids in listed(directory).values()) == 5


def test_a_listed_name_that_leads_outside_is_only_missing(medium: Path) -> None:
    (medium.parent / "OUTSIDE").touch()
    said = notes({"1.2": [("..", "OUTSIDE")]}, medium, {"1.2": []})
    assert said == {"1.2": ["the DICOMDIR lists 1 file(s) of this series that are not there"]}


def test_the_carried_dicomdirs_are_known_by_content() -> None:
    folder = Path(pydicom.__file__).parent / "data/test_files/dicomdirtests"
    assert all(is_directory(p) for p in folder.glob("DICOMDIR*"))
    assert not is_directory(folder.parent / "CT_small.dcm")
