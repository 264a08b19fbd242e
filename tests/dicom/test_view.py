"""Views: what a model sees, where it came from, and the way back to the stored frame."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.dicom.display import render_frame
from medreasoner_monai.dicom.rules import AS_STORED, GreyFrame, VoiTransform, parse_rule
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.dicom.spacing import Spacing
from medreasoner_monai.dicom.view import Orientation, View, view_picture, view_values
from tests.dicom.made import KINDS, make_series
from tests.dicom.tools import make_ct, make_enhanced, make_xray, need_ct


@pytest.mark.parametrize("kind", KINDS)
def test_the_default_view_is_the_slice_as_it_is_stored(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    for index in range(len(series)):
        view = series.view(index)
        assert np.array_equal(view.pixels, render_frame(*series.load(index))[0])
        assert view.rule == AS_STORED and view.rule_digest == AS_STORED.digest
        assert view.shape == series.shape[1:] and (view.index, view.modality) == (index, series.modality)


def test_a_view_says_where_its_pixels_come_from_and_where_they_lie(tmp_path: Path) -> None:
    make_ct(tmp_path, 3, orientation=(1, 0, 0, 0, 0.8, 0.6), spacing=(0.5, 1.25))
    series = choose_series(tmp_path)
    view = series.view(2)
    assert view.source is not None and view.source.series_instance_uid == series.uid
    assert (view.source.sop_instance_uid, view.source.frame) == (series.sop_instance_uid(2), 0)
    assert view.orientation.axes is not None and view.orientation.axes.tolist() == [1, 0, 0, 0, 0.8, 0.6]
    assert view.spacing == Spacing(0.5, 1.25)
    assert view.voi == VoiTransform("window", (40.0, 400.0), "LINEAR")


def test_frames_of_one_file_have_a_view_each_with_their_own_window(tmp_path: Path) -> None:
    series = choose_series(make_enhanced(tmp_path / "e", (0, 5, 2.5)))
    views = [series.view(i) for i in range(3)]
    assert [v.source.frame for v in views if v.source] == [0, 2, 1], "in the order of space"
    assert [v.voi.window for v in views] == [(40.0, 200.0), (40.0, 202.5), (40.0, 205.0)]


def test_an_x_ray_has_no_directions_and_its_spacing_is_at_the_detector(tmp_path: Path) -> None:
    view = choose_series(make_xray(tmp_path / "x")).view(0)
    assert view.orientation.axes is None and view.spacing == Spacing(0.14, 0.14, "detector")


def test_another_rule_shows_other_pixels_and_says_so() -> None:
    series = choose_series(need_ct())
    plain, lung = series.view(1), series.view(1, parse_rule("ct-lung"))
    hu = series.load(1)[0].pixel_array.astype(float) + float(series.headers[1].RescaleIntercept)
    assert lung.voi.window == (-600.0, 1500.0) and lung.rule_digest != plain.rule_digest
    assert (lung.pixels[hu >= 150] == 255).all() and (lung.pixels[hu <= -1350] == 0).all()
    inside = (hu > -1300) & (hu < 100)
    expected = 255 * ((hu[inside] + 600.5) / 1499 + 0.5)
    assert np.abs(lung.pixels[inside] - expected).max() <= 0.5


def test_a_file_and_the_same_values_without_it_make_one_picture(tmp_path: Path) -> None:
    make_ct(tmp_path, 1)
    series = choose_series(tmp_path)
    dataset, _ = series.load(0)
    hu = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
    for name in ("as-stored", "ct-lung", "percentile:2,98"):
        values = view_values(GreyFrame(hu, "CT"), parse_rule(name), spacing=Spacing(0.8, 0.8))
        seen = series.view(0, parse_rule(name))
        assert np.array_equal(values.pixels, seen.pixels) and values.rule_digest == seen.rule_digest
        assert (values.voi, values.modality, values.spacing) == (seen.voi, seen.modality, seen.spacing)


def test_a_stored_picture_is_seen_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    view = view_picture(picture, "ES")
    assert view.pixels is picture and view.voi.kind == "none" and view.shape == (5, 7)


orientations = st.builds(Orientation, st.none(), st.booleans(), st.booleans(), st.booleans())


@given(orientations, st.integers(1, 6), st.integers(1, 6), st.data())
def test_a_marked_pixel_and_its_centre_go_back_to_the_same_stored_pixel(
    orientation: Orientation, rows: int, columns: int, data: st.DataObject
) -> None:
    row, column = data.draw(st.integers(0, rows - 1)), data.draw(st.integers(0, columns - 1))
    stored = np.zeros((rows, columns), dtype=np.uint8)
    stored[row, column] = 1
    view = View(orientation.turn(stored), AS_STORED, VoiTransform("none"), orientation=orientation)  # type: ignore[arg-type]
    assert np.array_equal(orientation.turn_back(view.pixels), stored)
    (y,), (x,) = np.nonzero(view.pixels)
    assert orientation.to_stored(np.array([[x + 0.5, y + 0.5]]), view.shape).tolist() == [[column + 0.5, row + 0.5]]
