"""A damaged file among whole ones is set aside and said; where nobody could tell what is missing, it is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from medreasoner_monai.dicom.series import choose_series, open_datasets, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_clip, make_ct, make_enhanced, make_xray, paths_of, saved


def cut(path: Path) -> Path:
    path.write_bytes(path.read_bytes()[:-1000])
    return path


def break_header(path: Path) -> Path:
    """Rows with a value representation that there is not: of the header, only what stands before it can be read."""
    data = path.read_bytes()
    at = data.index(b"\x28\x00\x10\x00US")
    path.write_bytes(data[: at + 4] + b"\xff\xff" + data[at + 6 :])
    return path


@pytest.mark.parametrize("damage", [cut, break_header])
def test_one_damaged_slice_of_six_is_set_aside_and_the_gap_is_noticed(
    tmp_path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    paths = make_ct(tmp_path, 6)
    bad = damage(paths[2])  # type: ignore[operator]
    series = choose_series(tmp_path)
    assert len(series) == 5 and bad not in paths_of(series)
    assert len(series.set_aside) == 1 and bad.name in series.set_aside[0]
    assert f"set aside: {series.set_aside[0]}" in series.explain() and bad.name in caplog.text
    notes = " ".join(series.notes)
    assert "about 1 slice(s) are missing" in notes and "between slices 1 and 2 (5.00 mm apart)" in notes
    assert bad.name not in notes, "notes go into the answer, whoever reads it"
    if damage is cut:
        assert "a damaged image was set aside: its slice is missing between slices 1 and 2, counted from 0" in notes
    else:
        assert "1 damaged file(s) of this series, or possibly of it, could not be read" in notes
    values = [int(series.load(i)[0].pixel_array[0, 0]) for i in range(5)]
    assert values == [1000, 1010, 1030, 1040, 1050]
    assert series.slice_distance == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("lost", "where"), [(0, "before slice 0, the first"), (5, "after slice 4 (counted from 0), the")]
)
def test_a_damaged_end_leaves_no_gap_and_is_said_all_the_same(tmp_path: Path, lost: int, where: str) -> None:
    cut(make_ct(tmp_path, 6)[lost])
    series = choose_series(tmp_path)
    assert len(series) == 5 and any(where in note for note in series.notes)


def test_data_sets_in_memory_are_set_aside_too(tmp_path: Path) -> None:
    datasets = [dcmread(path) for path in make_ct(tmp_path, 5)]
    datasets[1].PixelData = datasets[1].PixelData[:-100]
    datasets[3].ImagePositionPatient = None
    datasets[3]["ImagePositionPatient"]._value = object()
    series = open_datasets(datasets).choose()
    assert len(series) == 3 and len(series.set_aside) == 2


def test_too_much_damage_refuses_the_series_with_every_reason(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 6)
    for path in paths[:3]:
        cut(path)
    with pytest.raises(DicomError) as caught:
        choose_series(tmp_path)
    assert all(path.name in str(caught.value) for path in paths[:3])


def test_where_no_gap_would_show_nothing_is_set_aside(tmp_path: Path) -> None:
    one = dcmread(make_xray(tmp_path / "one"))
    for name in ("two", "three"):
        other = dcmread(make_xray(tmp_path / name))
        other.SeriesInstanceUID, other.StudyInstanceUID = one.SeriesInstanceUID, one.StudyInstanceUID
        other.save_as(tmp_path / name)
    cut(tmp_path / "three")
    with pytest.raises(DicomError, match="three: truncated"):
        choose_series(tmp_path)


def test_a_file_that_tells_nothing_of_itself_is_said_for_every_series(tmp_path: Path) -> None:
    make_ct(tmp_path / "a", 3, series_uid="1.2.826.0.1.1")
    make_ct(tmp_path / "b", 2, series_uid="1.2.826.0.1.2")
    (tmp_path / "rubbish").write_bytes(bytes(128) + b"DICM" + bytes(range(256)) * 4)
    for series in open_dicom(tmp_path).series:
        assert not series.problems
        assert len(series.set_aside) == 1 and "rubbish" in series.set_aside[0]
        assert any("could not be read" in note for note in series.notes)


@pytest.mark.parametrize("lost", ["Rows", "SOPInstanceUID", "SeriesInstanceUID"])
def test_an_image_that_lacks_what_it_must_have_is_not_dropped_silently(tmp_path: Path, lost: str) -> None:
    path = make_ct(tmp_path, 5)[4]
    dataset = dcmread(path)
    del dataset[lost]
    saved(dataset, path)
    series = choose_series(tmp_path)
    assert len(series) == 4 and len(series.set_aside) == 1
    assert f"{path.name}: CT image without {lost}" in series.set_aside[0]
    assert len(open_datasets([dcmread(p) for p in tmp_path.iterdir()]).choose().set_aside) == 1


def test_reports_and_plans_beside_images_are_nobodys_damage(tmp_path: Path) -> None:
    make_ct(tmp_path, 3)
    for name in ("reportsi.dcm", "rtplan.dcm", "liver_1frame.dcm", "waveform_ecg.dcm"):
        shutil.copy(carried(name), tmp_path)
    assert choose_series(tmp_path).set_aside == ()


def test_damage_in_another_series_is_not_this_ones(tmp_path: Path) -> None:
    make_ct(tmp_path / "good", 3, series_uid="1.2.826.0.1.1")
    break_header(make_ct(tmp_path / "bad", 3, series_uid="1.2.826.0.1.2")[0])
    series = choose_series(tmp_path, "1.2.826.0.1.1")
    assert series.set_aside == () and not any("damaged" in note for note in series.notes)


def test_where_everything_is_damaged_the_first_reason_is_given(tmp_path: Path) -> None:
    for path in make_ct(tmp_path, 3):
        break_header(path)
    with pytest.raises(DicomError, match=r"file\d+: .*and 2 more damaged file\(s\)"):
        choose_series(tmp_path)


def test_several_multi_frame_images_are_parts_that_can_be_chosen(tmp_path: Path) -> None:
    first = dcmread(make_clip(tmp_path / "one", 3))
    for number, frames in ((2, 5), (3, 1)):
        clip = dcmread(make_clip(tmp_path / f"clip{number}", frames))
        clip.SeriesInstanceUID, clip.StudyInstanceUID = first.SeriesInstanceUID, first.StudyInstanceUID
        clip.InstanceNumber = number
        saved(clip, tmp_path / f"clip{number}")
    found = open_dicom(tmp_path)
    assert [(len(s), s.number_of_part) for s in found.series] == [(1, 1), (3, 2), (5, 3)]
    with pytest.raises(DicomError, match="5 frames of one image, part 3 of 3"):
        found.choose()
    series = found.choose(f"{first.SeriesInstanceUID}#3")
    assert paths_of(series) == [tmp_path / "clip2"] and series.view(4).pixels.max() == 250
    cut(tmp_path / "clip2")
    with pytest.raises(DicomError, match="clip2: truncated"):
        choose_series(tmp_path, f"{first.SeriesInstanceUID}#3")
    assert len(choose_series(tmp_path, f"{first.SeriesInstanceUID}#2")) == 3, "the other clip is whole"


def test_two_enhanced_images_in_one_series_are_two_volumes(tmp_path: Path) -> None:
    one = dcmread(make_enhanced(tmp_path / "one"))
    other = dcmread(make_enhanced(tmp_path / "other", heights=(0, 2, 4, 6)))
    for keyword in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
        setattr(other, keyword, getattr(one, keyword))
    other.InstanceNumber = 2
    saved(other, tmp_path / "other")
    first, second = open_dicom(tmp_path).series
    assert (len(first), first.slice_distance, len(second), second.slice_distance) == (3, 2.5, 4, 2)


def test_raw_radiographs_are_refused(tmp_path: Path) -> None:
    path = make_xray(tmp_path / "raw")
    dataset = dcmread(path)
    dataset.PresentationIntentType = "FOR PROCESSING"
    saved(dataset, path)
    with pytest.raises(DicomError, match=r"1 of 1 image\(s\) are FOR PROCESSING \(PresentationIntentType\)"):
        choose_series(tmp_path)
    make_xray(tmp_path / "shown")
    series = choose_series(tmp_path)
    assert paths_of(series) == [tmp_path / "shown"] and "raw data of a detector" in series.because


def test_a_copy_of_a_damaged_file_does_not_hide_it(tmp_path: Path) -> None:
    path = cut(make_ct(tmp_path, 5)[1])
    shutil.copy(path, tmp_path / "again")
    series = choose_series(tmp_path)
    assert len(series) == 4 and len(series.set_aside) == 1
