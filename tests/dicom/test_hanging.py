"""The canonical view of each kind of acquisition, and the letters that name directions."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

from medreasoner_monai.dicom import hanging
from medreasoner_monai.dicom.hanging import hang, hung
from medreasoner_monai.dicom.letters import direction_of, letters_of, opposite
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.dicom.view import Orientation
from tests.dicom.tools import make_ct, make_xray
from tests.dicom.turned import write_radiograph

PAIRS = ("LR", "PA", "HF")
COMPOSITE = [
    "".join(letters)
    for count in (1, 2, 3)
    for axes in itertools.permutations(range(3), count)
    for letters in itertools.product(*(PAIRS[axis] for axis in axes))
]
"""Every name of a direction: 6 of one letter, 24 of two, 48 of three."""


def header(**values: object) -> Dataset:
    made = Dataset()
    made.Modality = "DX"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


@pytest.mark.parametrize("letters", COMPOSITE)
def test_letters_name_a_direction_that_has_these_letters(letters: str) -> None:
    direction = direction_of(letters)
    assert direction is not None and np.linalg.norm(direction) == pytest.approx(1)
    assert letters_of(direction) == letters
    assert letters_of(-direction) == opposite(letters)


@pytest.mark.parametrize("nonsense", ["", "LR", "LFL", "X", "l", "LPHF", "AP"])
def test_what_names_no_direction_is_none(nonsense: str) -> None:
    assert direction_of(nonsense) is None


def test_a_tilt_of_a_few_degrees_is_not_oblique() -> None:
    for degrees, expected in ((3, "P"), (20, "PH"), (60, "HP")):
        tilt = np.radians(degrees)
        assert letters_of(np.array([0, np.cos(tilt), np.sin(tilt)])) == expected


def rotation(a: float, b: float, c: float) -> np.ndarray:
    turn = np.eye(3)
    for (i, j), angle in zip(((0, 1), (1, 2), (0, 2)), (a, b, c), strict=True):
        step = np.eye(3)
        step[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        turn = turn @ step
    return turn


def stored_ways(row: np.ndarray, column: np.ndarray) -> list[np.ndarray]:
    """The eight ways to store a plane that lies so in the patient."""
    return [
        np.concatenate([sign * first, other * second])
        for first, second in ((row, column), (column, row))
        for sign in (1, -1)
        for other in (1, -1)
    ]


angles = st.one_of(st.floats(-3, 3), st.sampled_from([0, np.pi / 4, np.pi / 2, -np.pi / 4, np.pi]))


@given(angles, angles, angles)
def test_a_plane_has_one_view_however_it_is_stored(a: float, b: float, c: float) -> None:
    row, column, normal = rotation(a, b, c).T
    views = [hung(axes) for axes in stored_ways(row, column)]
    seen = [view.axes for view in views if view.axes is not None]
    assert len(seen) == 8 and all(np.allclose(seen[0], other, atol=1e-6) for other in seen)
    # It is the nearest there is to the plane's canonical directions, each at most 90 degrees off.
    axis = 2 - int(np.abs(normal).round(6)[::-1].argmax())
    right, down = (([0, 1, 0], [0, 0, -1]), ([1, 0, 0], [0, 0, -1]), ([1, 0, 0], [0, 1, 0]))[axis]
    best = max(one[:3] @ right + one[3:] @ down for one in stored_ways(row, column))
    assert seen[0][:3] @ right + seen[0][3:] @ down == pytest.approx(best, abs=1e-5)


@given(angles, angles, angles, st.integers(1, 5), st.integers(1, 5), st.data())
def test_a_views_axes_are_those_of_its_turned_pixels(
    a: float, b: float, c: float, rows: int, columns: int, data: st.DataObject
) -> None:
    """Where a stored pixel lies in space, computed by PS3.3 C.7.6.2.1.1, is where it lies by the view's axes."""
    row, column, _ = rotation(a, b, c).T
    view = hung(np.concatenate([row, column]))
    assert view.axes is not None
    shape = (columns, rows) if view.transposed else (rows, columns)
    pixels = [data.draw(st.tuples(st.integers(0, columns - 1), st.integers(0, rows - 1))) for _ in range(2)]
    places = [x * row + y * column for x, y in pixels]
    seen = view.from_stored(np.array(pixels) + 0.5, shape)
    steps = [x * view.axes[:3] + y * view.axes[3:] for x, y in seen]
    assert np.allclose(places[1] - places[0], steps[1] - steps[0], atol=1e-9)


FRONTAL, LATERAL = ("L", "F"), ("P", "F")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (("L", "F"), FRONTAL),  # AP or PA, as most are stored
        (("R", "F"), FRONTAL),  # mirrored
        (("L", "H"), FRONTAL),
        (("F", "R"), FRONTAL),  # on its side
        (("P", "F"), LATERAL),
        (("A", "F"), LATERAL),
        (("L", "P"), ("L", "P")),
        (("LF", "FR"), ("LF", "FR")),
        (("RH", "FR"), ("LF", "FR")),
        (("AL", "F"), ("PR", "F")),
    ],
)
def test_a_radiograph_is_hung_by_patient_orientation(stored: tuple[str, str], expected: tuple[str, str]) -> None:
    assert hang(header(PatientOrientation=list(stored)), 0, None).letters == expected


@pytest.mark.parametrize(
    ("side", "stored", "expected"),
    [
        ("L", ("A", "R"), ("A", "R")),  # CC: the lateral side is on top
        ("L", ("P", "L"), ("A", "R")),
        ("R", ("P", "L"), ("P", "L")),
        ("R", ("A", "L"), ("P", "L")),
        ("L", ("A", "FR"), ("A", "FR")),  # MLO
        ("L", ("P", "FR"), ("A", "FR")),
        ("R", ("P", "FL"), ("P", "FL")),
        ("R", ("HR", "P"), ("P", "FL")),
    ],
)
def test_a_mammogram_has_the_chest_wall_on_its_side(
    side: str, stored: tuple[str, str], expected: tuple[str, str]
) -> None:
    made = header(Modality="MG", ImageLaterality=side, PatientOrientation=list(stored))
    assert hang(made, 0, None).letters == expected


def test_a_mammogram_of_no_stated_side_is_left_as_it_lies() -> None:
    turned = hang(header(Modality="MG", PatientOrientation=["P", "L"]), 0, None)
    assert turned.letters == ("P", "L") and is_identity(turned)


def is_identity(orientation: Orientation) -> bool:
    return not (orientation.transposed or orientation.mirrored_columns or orientation.mirrored_rows)


@pytest.mark.parametrize(
    ("values", "axes", "because"),
    [
        ({}, None, hanging.NOT_STATED),
        ({"ViewPosition": "PA"}, None, hanging.NOT_STATED),  # says nothing of how it is stored
        ({"ViewPosition": "LL", "PatientOrientation": None}, None, hanging.NOT_STATED),
        ({"PatientOrientation": ["L", "R"]}, None, hanging.NOT_READABLE),
        ({"PatientOrientation": ["L", ""]}, None, hanging.NOT_READABLE),
        ({"PatientOrientation": "L"}, None, hanging.NOT_READABLE),
        ({"PatientOrientation": ["R", "P"]}, (1, 0, 0, 0, 1, 0), hanging.CONTRADICTION),
        ({"AnatomicalOrientationType": "QUADRUPED"}, (1, 0, 0, 0, 1, 0), hanging.QUADRUPED),
    ],
)
def test_where_the_orientation_is_not_known_nothing_is_turned(
    values: dict[str, object], axes: tuple[float, ...] | None, because: str
) -> None:
    turned = hang(header(**values), 0, None if axes is None else np.array(axes, dtype=float))
    assert turned.axes is None and turned.letters is None and is_identity(turned)
    assert turned.unknown_because == because


def test_patient_orientation_that_agrees_changes_nothing() -> None:
    turned = hang(header(PatientOrientation=["R", "P"]), 0, np.array([-1.0, 0, 0, 0, 1, 0]))
    assert turned.letters == ("L", "P") and turned.mirrored_columns and not turned.mirrored_rows


def test_pixels_that_are_not_square_stay_so_when_exchanged(tmp_path: Path) -> None:
    make_ct(tmp_path, 2, orientation=(0, 1, 0, 1, 0, 0), spacing=(0.5, 1.25))
    view = choose_series(tmp_path).view(0)
    assert view.orientation.transposed and view.shape == (32, 24)
    assert view.spacing is not None and (view.spacing.row, view.spacing.column) == (1.25, 0.5)


def test_images_of_one_series_are_hung_each_by_itself(tmp_path: Path) -> None:
    uids = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4"}
    picture = np.zeros((30, 20), np.uint16)
    for number, stored in enumerate((["R", "F"], ["P", "F"], ["A", "F"]), 1):
        write_radiograph(tmp_path / f"{number}", picture, stored, InstanceNumber=number, **uids)
    series = choose_series(tmp_path)
    turned = [series.orientation(i) for i in range(3)]
    assert [one.letters for one in turned] == [("L", "F"), ("P", "F"), ("P", "F")]
    assert [one.mirrored_columns for one in turned] == [True, False, True]


def test_a_mirrored_radiograph_is_shown_as_the_other(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 4096, (30, 20)).astype(np.uint16)
    plain = choose_series(write_radiograph(tmp_path / "a", picture, ["L", "F"]))
    mirrored = choose_series(write_radiograph(tmp_path / "b", picture[:, ::-1], ["R", "F"]))
    assert np.array_equal(plain.view(0).pixels, mirrored.view(0).pixels)
    unknown = choose_series(write_radiograph(tmp_path / "c", picture[:, ::-1], None, ViewPosition="AP"))
    assert np.array_equal(unknown.view(0).pixels, plain.view(0).pixels[:, ::-1]), "as it is stored"
    assert choose_series(make_xray(tmp_path / "x")).orientation(0).letters is None
