"""Where slices lie, against what is worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.placement import Plane
from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import carried, make_clip, make_ct, make_enhanced, make_xray

AXIAL = np.array([1.0, 0, 0, 0, 1, 0])


def change(paths: list[Path], *keywords: str, **values: object) -> None:
    """Set attributes in files; take out those that are only named."""
    for path in paths:
        dataset = dcmread(path)
        for keyword in keywords:
            delattr(dataset, keyword)
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        dataset.save_as(path)


@given(
    angles=st.tuples(*[st.floats(-3, 3)] * 3),
    count=st.integers(2, 12),
    gap=st.floats(0.5, 10),
    shift=st.floats(-0.4, 0.4),
    seed=st.integers(0, 99),
)
def test_order_and_distance_are_found_in_any_orientation(
    angles: tuple[float, float, float], count: int, gap: float, shift: float, seed: int
) -> None:
    """Slices are made along a turned normal, sheared along a row as a tilted gantry does, and shuffled."""
    a, b, c = angles
    turn = np.eye(3)
    for (i, j), angle in zip(((0, 1), (1, 2), (0, 2)), (a, b, c), strict=True):
        step = np.eye(3)
        step[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ step
    row, column, normal = turn.T
    axes = np.concatenate([row, column])
    planes = [Plane(i, 0, np.array([5.0, -7, 9]) + i * gap * (normal + shift * row), axes) for i in range(count)]
    order = np.random.default_rng(seed).permutation(count)
    shuffled = [planes[i] for i in order]
    along = placement.heights(shuffled)
    assert along is not None
    found = [shuffled[i].file for i in np.argsort(along)]
    assert found in (list(range(count)), list(range(count))[::-1])
    mirrored = [replace(plane, axes=np.concatenate([-row, column])) for plane in shuffled]
    assert placement.heights(mirrored) == pytest.approx(along), "numbered alike however rows are stored"
    planes = [planes[i] for i in found]
    assert placement.distance(shuffled) == pytest.approx(gap, rel=1e-6)
    tilt = np.degrees(np.arctan(abs(shift)))
    said = list(placement.remarks(planes))
    assert said == [] if tilt < 0.49 else tilt < 0.51 or f"gantry tilt of {tilt:.1f} degrees" in said[0]


@pytest.mark.parametrize(
    ("axes", "onwards"),
    [
        ((1, 0, 0, 0, 1, 0), (0, 0, 1)),  # axial: from feet to head
        ((-1, 0, 0, 0, 1, 0), (0, 0, 1)),
        ((1, 0, 0, 0, 0, -1), (0, 1, 0)),  # coronal: from front to back
        ((1, 0, 0, 0, 0, 1), (0, 1, 0)),
        ((0, 1, 0, 0, 0, -1), (-1, 0, 0)),  # sagittal: from left to right
        ((0, -1, 0, 0, 0, -1), (-1, 0, 0)),
    ],
)
def test_slices_are_numbered_by_where_they_lie(axes: tuple[float, ...], onwards: tuple[float, ...]) -> None:
    planes = [Plane(i, 0, 3.0 * i * np.array(onwards), np.array(axes, dtype=float)) for i in range(3)]
    assert placement.heights(planes) == pytest.approx([0, 3, 6])


def test_a_tilted_gantry_is_noticed_and_the_volume_is_the_slabs(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 4, gap=2.5)
    for path in paths:
        dataset = dcmread(path)
        x, y, z = dataset.ImagePositionPatient
        dataset.ImagePositionPatient = [x, y + (z - 30) * np.tan(np.radians(15)), z]
        dataset.save_as(path)
    series = choose_series(tmp_path)
    assert any("gantry tilt of 15.0 degrees" in note for note in series.notes)
    assert series.voxel_ml == pytest.approx(0.8 * 0.8 * 2.5 / 1000, rel=1e-4)


def test_missing_slices_are_said_with_their_place(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 8, gap=2.0)
    paths[3].unlink()
    paths[4].unlink()
    series = choose_series(tmp_path)
    (note,) = (n for n in series.notes if "missing" in n)
    assert note.startswith("about 2 slice(s) are missing, where others are 2.00 mm apart")
    assert note.endswith("between slices 2 and 3 (6.00 mm apart), counted from 0")
    assert series.slice_distance == pytest.approx(2.0)


def test_uneven_distances_are_said(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 5, gap=2.0)
    change(paths[2:3], ImagePositionPatient=[-10, 20, 34.4])
    assert any("distances between slices differ: 1.60 to 2.40 mm" in note for note in choose_series(tmp_path).notes)


def test_frames_are_put_in_order_of_space_and_each_has_its_own_values(tmp_path: Path) -> None:
    series = choose_series(make_enhanced(tmp_path / "e", (0, 5, 2.5, 7.5)))
    assert [series.locate(i) for i in range(4)] == [(0, 0), (0, 2), (0, 1), (0, 3)]
    assert [series.position(i) for i in range(4)] == [(-10, 20, z) for z in (0, 2.5, 5, 7.5)]
    assert series.in_space and series.spacing == (0.5, 1.25) and series.slice_distance == pytest.approx(2.5)
    assert series.voxel_ml == pytest.approx(0.5 * 1.25 * 2.5 / 1000)
    for i, z in enumerate((0, 2.5, 5, 7.5)):
        hu = (1000 + 4 * z) - 1000 - 2 * z
        expected = round(255 * ((hu - 39.5) / (200 + z - 1) + 0.5))  # PS3.3 C.11.2.1.2
        assert abs(int(series.view(i).pixels[0, 0]) - expected) <= 1
    masks = np.arange(4)[:, None, None] * np.ones((1, 2, 2), dtype=int)
    assert series.in_stored_order(masks)[:, 0, 0].tolist() == [0, 2, 1, 3]


def test_a_clip_keeps_its_frames_in_order(tmp_path: Path) -> None:
    series = choose_series(make_clip(tmp_path / "clip"))
    assert series.shape == (4, 20, 28) and not series.in_space and series.voxel_ml is None and series.notes == ()
    assert [int(series.view(i).pixels[0, 0, 0]) for i in range(4)] == [0, 40, 80, 120]


def test_rows_and_columns_of_pixels_that_are_not_square(tmp_path: Path) -> None:
    make_ct(tmp_path, 2, spacing=(0.5, 1.25))
    series = choose_series(tmp_path)
    assert series.spacing == (0.5, 1.25)
    assert series.view(0).pixels.shape == (24, 32), "the stored grid is kept"
    assert choose_series(make_xray(tmp_path / "x")).spacing is None, "spacing at the detector is not in the patient"


@pytest.mark.parametrize("spacing", [["0", "0"], ["-0.8", "0.8"], ["0.8"]])
def test_a_spacing_that_cannot_be_is_left_out_with_the_place(tmp_path: Path, spacing: list[str]) -> None:
    change(make_ct(tmp_path, 3), PixelSpacing=spacing)
    series = choose_series(tmp_path)
    assert series.spacing is None and series.voxel_ml is None and not series.in_space
    assert any(r.startswith("PixelSpacing is not two positive numbers") for r in series.repairs)
    assert "FrameOfReferenceUID" not in series.headers[0], "no object may repeat it"
    order = [series.load(i)[0].pixel_array[0, 0] for i in range(3)]
    assert order == [1000, 1010, 1020], "they still lie in their order"


def test_an_orientation_that_cannot_be_is_left_out(tmp_path: Path) -> None:
    change(make_ct(tmp_path, 2), ImageOrientationPatient=[1, 0, 0, 1, 0, 0])
    series = choose_series(tmp_path)
    assert not series.in_space and series.position(0) is None
    assert any("ImageOrientationPatient is not two perpendicular directions" in r for r in series.repairs)


def test_what_a_cross_section_must_have_is_missed(tmp_path: Path) -> None:
    change(make_ct(tmp_path, 2), "ImagePositionPatient", "PixelSpacing")
    notes = choose_series(tmp_path).notes
    for keyword in ("ImagePositionPatient", "PixelSpacing"):
        assert f"no {keyword}, which CT images must have (2 file(s))" in notes
    assert any("no slice has a usable position" in n for n in notes)


def test_skipped_instance_numbers_are_all_there_is_without_positions(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 4)
    change(paths, "ImagePositionPatient")
    paths[1].unlink()
    assert any("1 Instance Number(s) are skipped" in n for n in choose_series(tmp_path).notes)
    change([p for p in paths if p.exists()], InstanceNumber=1)
    assert any("missing or repeated" in n for n in choose_series(tmp_path).notes)


def test_echoes_in_the_same_places_are_parts(tmp_path: Path) -> None:
    uid, frame = "1.2.826.0.1.5", generate_uid(prefix=None)
    for echo in (30, 5):
        paths = make_ct(tmp_path / str(echo), 3, series_uid=uid)
        change(paths, EchoTime=echo, FrameOfReferenceUID=frame, StudyInstanceUID="1.2.3")
    parts = open_dicom(tmp_path).series
    assert [p.key for p in parts] == [f"{uid}#1", f"{uid}#2"] and [p.part for p in parts] == [
        "EchoTime, 1 of 2",
        "EchoTime, 2 of 2",
    ]
    with pytest.raises(DicomError, match=r"holds 2 image series:(.|\n)*\(EchoTime, 2 of 2\)"):
        choose_series(tmp_path)
    second = choose_series(tmp_path, "5#2")
    assert len(second) == 3 and {float(h.EchoTime) for h in second.headers} == {30}
    assert second.voxel_ml == pytest.approx(0.8 * 0.8 * 2.5 / 1000)


def test_phases_of_an_enhanced_image_are_parts_of_one_file(tmp_path: Path) -> None:
    path = make_enhanced(tmp_path / "e", (0, 0, 2.5, 2.5))
    dataset = dcmread(path)
    for i, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        item.FrameContentSequence = [Dataset()]
        item.FrameContentSequence[0].TemporalPositionIndex = 1 + i % 2
    dataset.save_as(path)
    second = choose_series(path, "#2")
    assert [second.locate(i) for i in range(2)] == [(0, 1), (0, 3)]
    stored = second.in_stored_order(np.array([7, 8]))
    assert stored.tolist() == [0, 7, 0, 8], "frames of the other part stay empty"


def test_images_all_in_one_place_are_a_sequence_without_a_volume(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 3, gap=0.0)
    for path, time in zip(paths, (20, 0, 10), strict=True):
        change([path], TriggerTime=time)
    series = choose_series(tmp_path)
    assert [float(h.TriggerTime) for h in series.headers] == [0, 10, 20]
    assert series.slice_distance is None and series.voxel_ml is None
    assert any("lie in one place and differ in TriggerTime" in n for n in series.notes)


def test_two_slices_in_one_place_that_nothing_tells_apart_are_refused(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 4)
    change(paths[2:3], ImagePositionPatient=[float(v) for v in dcmread(paths[1]).ImagePositionPatient])
    with pytest.raises(DicomError, match=r"slices 1 and 2 \(counted from 0\) lie in one place"):
        choose_series(tmp_path)


@pytest.mark.parametrize(
    ("values", "pattern"),
    [
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, r"mixes slice orientations \(3 of one, 1 of one\)"),
        ({"FrameOfReferenceUID": "1.2.3"}, "mixes 2 values of FrameOfReferenceUID: .*file43 against"),
        ({"PixelSpacing": [0.9, 0.9]}, "mixes pixel spacings"),
    ],
)
def test_slices_that_do_not_belong_together_are_refused(
    tmp_path: Path, values: dict[str, object], pattern: str
) -> None:
    change(make_ct(tmp_path, 4)[3:], **values)
    with pytest.raises(DicomError, match=pattern):
        choose_series(tmp_path)


def test_a_single_slice_has_the_distance_its_header_gives() -> None:
    series = choose_series(carried("CT_small.dcm"))
    assert series.slice_distance == 5.0 and series.in_space
