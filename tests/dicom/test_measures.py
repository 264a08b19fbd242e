"""Measurements against formulas by hand and against scikit-image."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydicom import Dataset, dcmread
from skimage.draw import ellipse
from skimage.measure import label, regionprops

from medreasoner_monai.dicom.measures import HOUNSFIELD, NO_UNITS, Measures, diameters, measure
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.dicom.spacing import Spacing, calibrated_spacing
from medreasoner_monai.errors import DicomError
from tests.dicom.made import a_finding, a_mask, make_series, nothing_found
from tests.dicom.tools import make_ct, make_xray, paths_of


def test_a_rectangle_on_a_tilted_ct_is_measured_in_millimetres_and_hounsfield_units(tmp_path: Path) -> None:
    make_ct(tmp_path, 4, orientation=(1, 0, 0, 0, 0.8, 0.6), spacing=(0.5, 1.25), gap=2.5)
    series = choose_series(tmp_path)
    nothing = np.zeros(series.shape[1:], dtype=bool)
    # The made slice 1 is 1010 with a square of 1110 in rows 6 to 17, columns 8 to 23; rescale intercept -1024.
    masks = {0: nothing, 1: a_mask(series, 4, 10, 8, 12), 2: a_mask(series), 3: nothing}
    found = measure(series, a_finding(series, masks, key=1))
    assert found.area_mm2 == pytest.approx(6 * 4 * 0.5 * 1.25)
    assert found.volume_ml == pytest.approx((7 * 4 + 6 * 4) * 0.5 * 1.25 * 2.5 / 1000)
    assert (found.minimum, found.maximum) == (1010 - 1024, 1110 - 1024)
    assert found.mean == pytest.approx((2 * -14 + 4 * 86) / 6)
    assert found.sd == pytest.approx(100 * np.sqrt(2 / 6 * 4 / 6))
    assert found.unit == HOUNSFIELD and found.plane == "patient"
    # From the middle of one end pixel's edge to that of the other, a pixel aside: 5 mm wide, 2.5 mm high.
    assert found.long_mm == pytest.approx(np.hypot(5, 2.5))
    assert found.short_mm is not None and found.short_mm < found.long_mm


@pytest.mark.parametrize(("long", "short", "angle"), [(30, 12, 0.0), (25, 20, 0.6), (40, 8, 2.2)])
def test_an_ellipse_has_its_axes_for_diameters(long: float, short: float, angle: float) -> None:
    mask = np.zeros((120, 120), dtype=bool)
    mask[ellipse(60, 60, long, short, rotation=angle)] = True
    found = diameters(mask, Spacing(0.7, 0.7))
    # Drawn in whole pixels: a pixel more or less.
    assert found == pytest.approx((2 * long * 0.7, 2 * short * 0.7), abs=1.0)


@given(arrays(np.bool_, (18, 22)))
def test_the_long_diameter_is_scikit_images_feret_diameter(mask: np.ndarray) -> None:
    assume(mask.any())
    # scikit-image measures an image's convex hull in whole pixels, which may stick out by one.
    theirs = regionprops(label(np.ones_like(mask)) * mask)[0].feret_diameter_max
    long, short = diameters(mask, Spacing(1, 1))
    assert theirs - 1 <= long <= theirs + 0.5
    assert 0 < short <= long + 1e-6


@given(arrays(np.bool_, (12, 12)), st.floats(0.1, 3), st.floats(0.1, 3))
def test_diameters_agree_with_looking_at_all_pairs_in_millimetres(mask: np.ndarray, row: float, column: float) -> None:
    assume(mask.any())
    rows, columns = np.nonzero(mask)
    outline = np.array(
        [
            (c + dc, r + dr)
            for r, c in zip(rows, columns, strict=True)
            for dc, dr in ((0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5))
        ]
    ) * (column, row)
    apart = np.linalg.norm(outline[:, None] - outline[None], axis=-1)
    long, short = diameters(mask, Spacing(row, column))
    assert long == pytest.approx(apart.max())
    # Several pairs may be the farthest: the width is that across one of them.
    widths = []
    for a, b in np.argwhere(apart >= apart.max() - 1e-6):
        direction = (outline[b] - outline[a]) / apart[a, b]
        widths.append(np.ptp(outline @ np.array([-direction[1], direction[0]])))
    assert np.abs(np.array(widths) - short).min() < 1e-4


def test_turning_the_picture_changes_nothing() -> None:
    mask = np.zeros((40, 60), dtype=bool)
    mask[5:20, 10:50] = mask[20:30, 10:15] = True
    assert diameters(mask, Spacing(0.5, 2.0)) == pytest.approx(diameters(mask.T, Spacing(2.0, 0.5)))


def test_an_x_ray_is_measured_on_the_detector_and_says_so(tmp_path: Path) -> None:
    series = choose_series(make_xray(tmp_path / "dx.dcm"))
    found = measure(series, a_finding(series, {0: a_mask(series)}))
    assert found.plane == "detector" and found.area_mm2 == pytest.approx(28 * 0.14**2)
    assert found.volume_ml is None and found.unit == NO_UNITS


def header(**attributes: object) -> Dataset:
    out = Dataset()
    out.Rows, out.Columns = 100, 200
    for keyword, value in attributes.items():
        setattr(out, keyword, value)
    return out


def test_where_an_x_rays_spacing_comes_from() -> None:
    assert calibrated_spacing(header(Modality="DX")) is None
    assert calibrated_spacing(header(Modality="DX", PixelSpacing=[0.1, 0.2])) == Spacing(0.1, 0.2, "detector")
    both = {"Modality": "CR", "PixelSpacing": [0.1, 0.1], "ImagerPixelSpacing": [0.2, 0.2]}
    assert calibrated_spacing(header(**both)) == Spacing(0.2, 0.2, "detector")
    assert calibrated_spacing(header(**both, PixelSpacingCalibrationType="FIDUCIAL")) == Spacing(0.1, 0.1)


def test_spacing_that_is_no_spacing_is_none() -> None:
    assert calibrated_spacing(header(Modality="MR", PixelSpacing=[0, 1])) is None
    assert calibrated_spacing(header(Modality="MR", PixelSpacing=[1])) is None
    assert calibrated_spacing(header(Modality="XC")) is None


def test_ultrasound_is_measured_in_its_calibrated_region_only(tmp_path: Path) -> None:
    series = make_series("US, clip", tmp_path)
    inside = measure(series, a_finding(series, {2: a_mask(series, 2, 9, 3, 7)}))
    assert inside.area_mm2 == pytest.approx(28 * 0.5 * 0.4)
    outside = measure(series, a_finding(series, {2: a_mask(series, 2, 9, 12, 20)}))
    assert outside == Measures(), "part of it is outside, and colour has no intensity"


def test_an_enhanced_image_is_measured_like_the_single_slices(tmp_path: Path) -> None:
    enhanced = make_series("CT, enhanced", tmp_path / "e")
    make_ct(tmp_path / "s", 3)
    single = choose_series(tmp_path / "s")
    both = [measure(s, a_finding(s, {0: a_mask(s), 1: a_mask(s, 4, 12)}, key=1)) for s in (enhanced, single)]
    assert both[0].volume_ml == pytest.approx(both[1].volume_ml)
    assert both[0].area_mm2 == pytest.approx(both[1].area_mm2)
    assert (both[0].mean, both[0].sd) == pytest.approx((both[1].mean, both[1].sd))
    assert both[0].unit == both[1].unit == HOUNSFIELD


def test_a_finding_without_a_region_has_no_measures(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path)
    assert measure(series, nothing_found(series, [0, 1])) == Measures()


def test_a_thickness_without_a_position_makes_no_volume(tmp_path: Path) -> None:
    path = make_xray(tmp_path / "dx.dcm")
    dataset = dcmread(path)
    dataset.PixelSpacing, dataset.SliceThickness = [0.1, 0.1], 5
    dataset.save_as(path)
    series = choose_series(path)
    assert series.voxel_ml is not None and not series.has_frame_of_reference
    assert measure(series, a_finding(series, {0: a_mask(series)})).volume_ml is None


def test_a_mask_that_is_not_the_slices_size_is_refused(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path)
    with pytest.raises(DicomError, match=r"slice 0: its pixels have shape \(24, 32\), the mask \(24, 31\)"):
        measure(series, a_finding(series, {0: np.ones((24, 31), dtype=bool)}))


def test_pixels_that_cannot_be_read_are_an_error_with_a_remedy(tmp_path: Path) -> None:
    series: Series = make_series("CT, three slices", tmp_path)
    path = paths_of(series)[0]
    path.write_bytes(path.read_bytes()[:-1200])
    with pytest.raises(DicomError, match="cannot be decoded"):
        measure(series, a_finding(series, {0: a_mask(series)}))
