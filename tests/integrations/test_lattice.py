"""A label's grid against highdicom's idea of where the voxels lie."""

from __future__ import annotations

import tempfile
from pathlib import Path

import highdicom
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.integrations.monailabel.lattice import Lattice
from tests.dicom.tools import make_ct, make_xray, paths_of

millimetres = st.floats(0.2, 5).map(lambda v: round(v, 3))


def turned(yaw: float, pitch: float, roll: float) -> tuple[float, ...]:
    """Row and column directions of a plane that was turned about the three axes."""
    a, b, c = np.radians([yaw, pitch, roll])
    turns = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    turns = turns @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turns = turns @ np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    return tuple(round(float(v), 9) for v in turns[:, :2].T.ravel())


def corners(lattice: Lattice, shape: tuple[int, int, int]) -> np.ndarray:
    """Centres of the first and the last voxel."""
    last = np.array(shape[::-1]) - 1
    steps = lattice.direction * lattice.spacing
    return np.stack([lattice.origin, lattice.origin + steps @ last])


@settings(max_examples=15)
@given(angles=st.tuples(*[st.floats(-60, 60)] * 3), row=millimetres, column=millimetres, gap=millimetres)
def test_the_grid_is_the_one_highdicom_finds(angles, row: float, column: float, gap: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = make_ct(Path(folder), 4, orientation=turned(*angles), spacing=(row, column), gap=gap)
        series = choose_series(folder)
        volume = highdicom.get_volume_from_series([dcmread(p) for p in paths])
        lattice = Lattice.of(series)
    # highdicom counts (slice, row, column), and may count the slices from the other end.
    theirs = volume.affine @ np.array([[0, 0, 0, 1], [3, 23, 31, 1]]).T
    other_end = volume.affine @ np.array([[3, 0, 0, 1], [0, 23, 31, 1]]).T
    ours = corners(lattice, series.shape)
    assert np.allclose(ours, theirs[:3].T, atol=1e-4) or np.allclose(ours, other_end[:3].T, atol=1e-4)
    assert np.allclose(ours[0], series.headers[0].ImagePositionPatient)
    assert lattice.even and np.allclose(lattice.direction.T @ lattice.direction, np.eye(3), atol=1e-6)


def test_uneven_slices_are_noticed(tmp_path: Path) -> None:
    make_ct(tmp_path, 4, gap=2.0)
    series = choose_series(tmp_path)
    last = dcmread(paths_of(series)[-1])
    last.ImagePositionPatient = [*last.ImagePositionPatient[:2], float(last.ImagePositionPatient[2]) + 1]
    last.save_as(paths_of(series)[-1])
    lattice = Lattice.of(choose_series(tmp_path))
    assert not lattice.even and lattice.spacing[2] == pytest.approx(7 / 3)


def test_one_slice_is_as_thick_as_it_says(tmp_path: Path) -> None:
    (path,) = make_ct(tmp_path, 1, gap=2.5)
    header = dcmread(path)
    del header.SpacingBetweenSlices
    header.save_as(path)
    lattice = Lattice.of(choose_series(tmp_path))
    assert lattice.spacing.tolist() == [0.8, 0.8, 2.5] and lattice.even


def test_an_x_ray_lies_along_the_axes_with_its_detectors_spacing(tmp_path: Path) -> None:
    lattice = Lattice.of(choose_series(make_xray(tmp_path / "x.dcm")))
    assert lattice.spacing.tolist() == [0.14, 0.14, 1] and lattice.origin.tolist() == [0, 0, 0]
