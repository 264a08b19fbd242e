"""A label's grid against highdicom's idea of where the voxels lie, and against DICOM's formula."""

from __future__ import annotations

import tempfile
from pathlib import Path

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from medreasoner_monai.dicom.series import Series, choose_series, open_datasets
from medreasoner_monai.integrations.monailabel.grid import grid_of
from tests.dicom.made import a_finding, nothing_found
from tests.dicom.tools import make_ct, make_xray, paths_of

OBLIQUE = Path(__file__).parents[3] / "shared/data/real_volumes/dicom_rtstruct_rtutils/oriented_data"

millimetres = st.floats(0.2, 5).map(lambda v: round(v, 3))


def turned(yaw: float, pitch: float, roll: float) -> tuple[float, ...]:
    """Row and column directions of a plane that was turned about the three axes."""
    a, b, c = np.radians([yaw, pitch, roll])
    turns = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turns = turns @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turns = turns @ np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    return tuple(round(float(v), 9) for v in turns[:, :2].T.ravel())


def tilt(folder: Path, degrees: float) -> Series:
    """Shift each slice of a CT against the one below, as a tilted gantry does."""
    for path in sorted(folder.iterdir()):
        dataset = dcmread(path)
        x, y, z = (float(v) for v in dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, round(y + (z - 30) * np.tan(np.radians(degrees)), 6), z]
        dataset.save_as(path)
    return choose_series(folder)


def marked_points(series: Series, masks: dict[int, np.ndarray]) -> np.ndarray:
    """Centres of marked pixels in the patient, ``(N, 3)``, by PS3.3 C.7.6.2.1.1 from each slice's own header."""
    points = []
    for index, mask in masks.items():
        header = series.headers[series.locate(index)[0]]
        axes, (down, across) = np.array(header.ImageOrientationPatient, float), map(float, header.PixelSpacing)
        for row, column in np.argwhere(mask):
            origin = np.array(header.ImagePositionPatient, float)
            points.append(origin + axes[:3] * across * column + axes[3:] * down * row)
    return np.array(points)


def label_points(series: Series, masks: dict[int, np.ndarray]) -> np.ndarray:
    """Centres of the label's marked voxels in the patient, in the same order."""
    label = grid_of(series).label(a_finding(series, masks))
    return label.map_indices_to_reference(np.argwhere(label.array))


def some_masks(series: Series, seed: int = 0) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {i: rng.random(series.shape[1:]) < 0.1 for i in range(len(series))}


@settings(max_examples=15)
@given(angles=st.tuples(*[st.floats(-60, 60)] * 3), row=millimetres, column=millimetres, gap=millimetres)
def test_the_grid_is_the_one_highdicom_finds(angles, row: float, column: float, gap: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = make_ct(Path(folder), 4, orientation=turned(*angles), spacing=(row, column), gap=gap)
        series = choose_series(folder)
        theirs = highdicom.get_volume_from_series([dcmread(p) for p in paths]).get_geometry()
    ours = grid_of(series)
    # highdicom may count the slices from the other end.
    either = (theirs, theirs.flip_spatial(0))
    assert any(ours.geometry.geometry_equal(each, tol=1e-4) for each in either)
    assert np.allclose(ours.geometry.position, series.headers[0].ImagePositionPatient)
    assert ours.notes == () and not ours.corners.any()


@pytest.mark.parametrize("degrees", [20, -12.5])
def test_slices_of_a_tilted_gantry_lie_where_they_are_in_the_patient(degrees: float, tmp_path: Path) -> None:
    make_ct(tmp_path, 21, gap=2.5)  # 50 mm: 18 mm of shift at 20 degrees
    series = tilt(tmp_path, degrees)
    masks = some_masks(series)
    away = np.abs(label_points(series, masks) - marked_points(series, masks))
    assert (away.max(axis=0) <= [1e-6, 0.4, 1e-6]).all(), "half a pixel of 0.8 mm at the most"
    grid = grid_of(series)
    shift = round(50 * np.tan(np.radians(abs(degrees))) / 0.8)
    assert grid.geometry.spatial_shape == (21, 24 + shift, 32)
    (note,) = grid.notes
    assert note.startswith(f"slices are shifted against each other: the label file has {24 + shift} x 32 pixels in")


def test_a_tilt_of_less_than_half_a_pixel_leaves_the_grid_as_it_is(tmp_path: Path) -> None:
    make_ct(tmp_path, 3, gap=2.5)
    series = tilt(tmp_path, 3)
    grid = grid_of(series)
    assert grid.geometry.spatial_shape == series.shape and grid.notes == ()


def test_an_oblique_series_of_a_phantom_lies_where_its_headers_say() -> None:
    if not OBLIQUE.is_dir():
        pytest.skip("the oblique series is not beside the repository (../shared/data/real_volumes)")
    slices = [dcmread(path) for path in sorted(OBLIQUE.glob("*.dcm"))]
    for one in slices:  # each names a study of its own, for which they are refused
        one.StudyInstanceUID = slices[0].StudyInstanceUID
    series = open_datasets(slices).choose()
    masks = some_masks(series)
    assert np.abs(label_points(series, masks) - marked_points(series, masks)).max() < 1e-3
    assert grid_of(series).geometry.spatial_shape == series.shape


def test_directions_that_a_header_rounded_make_a_grid_all_the_same(tmp_path: Path) -> None:
    make_ct(tmp_path, 3, orientation=(0.954, -0.208, 0.215, 0.279, 0.880, -0.384))
    series = choose_series(tmp_path)
    direction = grid_of(series).geometry.direction
    assert np.allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    masks = some_masks(series)
    assert np.abs(label_points(series, masks) - marked_points(series, masks)).max() < 0.05


def test_uneven_slices_are_noticed(tmp_path: Path) -> None:
    make_ct(tmp_path, 4, gap=2.0)
    series = choose_series(tmp_path)
    last = dcmread(paths_of(series)[-1])
    last.ImagePositionPatient = [*last.ImagePositionPatient[:2], float(last.ImagePositionPatient[2]) + 1]
    last.save_as(paths_of(series)[-1])
    grid = grid_of(choose_series(tmp_path))
    assert grid.notes == ("slices are unevenly spaced: the label file has them at their mean distance",)
    assert grid.geometry.spacing_between_slices == pytest.approx(7 / 3)


def test_one_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    (path,) = make_ct(tmp_path, 1, gap=2.5)
    header = dcmread(path)
    del header.SpacingBetweenSlices
    header.save_as(path)
    grid = grid_of(choose_series(tmp_path))
    assert grid.geometry.spacing == pytest.approx((2.5, 0.8, 0.8)) and grid.notes == ()


def test_an_x_ray_lies_along_the_axes_with_its_detectors_spacing(tmp_path: Path) -> None:
    geometry = grid_of(choose_series(make_xray(tmp_path / "x.dcm"))).geometry
    assert geometry.spacing == pytest.approx((1, 0.14, 0.14)) and geometry.position == (0, 0, 0)
    assert np.allclose(geometry.map_indices_to_reference(np.array([[0, 10, 3]])), [[0.42, 1.4, 0]])


def test_nothing_found_is_an_empty_label(tmp_path: Path) -> None:
    make_ct(tmp_path, 3)
    series = choose_series(tmp_path)
    label = grid_of(series).label(nothing_found(series, [1]))
    assert label.array.shape == series.shape and not label.array.any()
