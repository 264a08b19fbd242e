"""Which of several series is taken, and what is said about it."""

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_ct


def typed(paths: list[Path], *image_type: str) -> None:
    for path in paths:
        dataset = dcmread(path)
        dataset.ImageType = list(image_type)
        dataset.save_as(path)


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """A stack, a scout, a dose page and a secondary capture."""
    make_ct(tmp_path / "stack", 3, series_uid="1.2.826.0.1.100")
    typed(make_ct(tmp_path / "scout", 1, series_uid="1.2.826.0.1.101"), "ORIGINAL", "PRIMARY", "LOCALIZER")
    typed(make_ct(tmp_path / "dose", 1, series_uid="1.2.826.0.1.102"), "DERIVED", "SECONDARY", "SCREEN SAVE")
    shutil.copy(carried("SC_rgb_rle.dcm"), tmp_path)
    return tmp_path


def test_the_only_images_proper_are_taken_and_it_is_said_why(mixed: Path) -> None:
    series = choose_series(mixed)
    assert series.uid == "1.2.826.0.1.100"
    assert series.because.startswith("the only series of images proper (")
    for reason in ("a scout (ImageType LOCALIZER)", "a captured page", "a secondary capture (SOP Class)"):
        assert reason in series.explain()
    assert "noticed: no window in the file" in series.explain()


def test_what_is_left_aside_can_be_asked_for(mixed: Path) -> None:
    because = choose_series(mixed, "1.2.826.0.1.101").because
    assert because.startswith("asked for by its UID; the place holds images of 2 patients")


def test_what_is_left_aside_is_taken_where_nothing_else_is(mixed: Path) -> None:
    series = choose_series(mixed / "scout")
    assert series.because == "the only image series, though it is a scout (ImageType LOCALIZER)"
    shutil.rmtree(mixed / "stack")
    with pytest.raises(DicomError, match="holds 3 image series"):
        choose_series(mixed)


def test_two_series_of_images_proper_are_listed_best_first(mixed: Path) -> None:
    make_ct(mixed / "thin", 5, series_uid="1.2.826.0.1.99")
    with pytest.raises(DicomError, match="holds 5 image series") as caught:
        choose_series(mixed)
    lines = str(caught.value).splitlines()[1:6]
    assert "5 image(s)" in lines[0] and "3 image(s)" in lines[1]
    assert all("  - a " in line for line in lines[2:])
    chosen = choose_series(mixed, "auto")
    assert chosen.uid == "1.2.826.0.1.99"
    assert chosen.because.startswith("automatically: most images in space (5) among 5 series")


def test_a_series_that_cannot_be_used_comes_after_those_that_can(tmp_path: Path) -> None:
    make_ct(tmp_path / "good", 2, series_uid="1.2.826.0.1.1")
    for bad in make_ct(tmp_path / "bad", 5, series_uid="1.2.826.0.1.2")[:3]:
        bad.write_bytes(bad.read_bytes()[:-1000])
    assert choose_series(tmp_path, "auto").uid == "1.2.826.0.1.1"
    with pytest.raises(DicomError, match="5 image.*has files that cannot be used"):
        choose_series(tmp_path)


def test_the_same_uid_with_other_content_is_refused(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 2)[0]
    dataset = dcmread(path)
    dataset.PixelData = bytes(len(dataset.PixelData))
    dataset.save_as(tmp_path / "other")
    with pytest.raises(DicomError, match="have the same SOP Instance UID but not the same content"):
        choose_series(tmp_path)


def test_a_copy_written_in_another_way_is_a_copy(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 2)[0]
    dataset = dcmread(path)
    dataset.file_meta.ImplementationVersionName = "OTHER"
    dataset.add_new(0x00091010, "LO", "private elements are nobody's content")
    dataset.save_as(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() != path.read_bytes()
    series = choose_series(tmp_path)
    assert len(series) == 2 and "second file with the same SOP Instance UID left out (1 file(s))" in series.repairs


def test_an_image_without_its_uids_is_named_as_what_it_is(tmp_path: Path) -> None:
    path = make_ct(tmp_path, 1)[0]
    dataset = dcmread(path)
    del dataset.SeriesInstanceUID
    dataset.save_as(path)
    with pytest.raises(DicomError, match="no image series, only 1 x CT image without SeriesInstanceUID; export"):
        open_dicom(tmp_path)


def test_images_without_pixels_are_named_with_what_they_lack(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 3)
    for number, path in enumerate(paths):
        dataset = dcmread(path)
        del dataset.Rows
        if number:
            del dataset.Columns, dataset.PixelData
        dataset.save_as(path)
    said = "only 1 x CT image without Rows, 2 x CT image without Rows and Columns; export them again, complete and with"
    with pytest.raises(DicomError, match=said):
        open_dicom(tmp_path)
    with pytest.raises(DicomError, match="only 1 x RTDOSE; give the images that these were made from"):
        open_dicom(carried("rtdose.dcm"))


def test_nothing_of_the_patient_is_listed(mixed: Path) -> None:
    name = str(dcmread(carried("CT_small.dcm")).PatientName)
    for path in mixed.rglob("file*"):
        dataset = dcmread(path)
        dataset.add_new("Modality", "LO", name)
        dataset.save_as(path)
    listing = "\n".join(s.explain() for s in open_dicom(mixed).series)
    assert len(name) > 3 and name not in listing and "OT  3 image(s)" in listing
