"""RT Structure Sets: contours become masks on the slices they lie on, and each that cannot be used is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.dicom_folder import DicomSource
from medreasoner_monai.data.sources.outlines import Outline, Places
from medreasoner_monai.data.sources.rt_outlines import RtReader
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.settings.sources import DicomSettings, SliceSettings
from tests.data.sources.rtstruct import Contour, on_slice, square, write_rtstruct
from tests.data.sources.volumes import items, pictures, reasons
from tests.dicom.tools import make_ct
from tests.dicom.turned import WAYS, name, spot_in_space, write_ct

REAL = Path(__file__).parents[4] / "shared" / "data" / "real_volumes"
ALL = SliceSettings(take="all", min_area_mm2=0)


def source(path: Path, **settings: object) -> DicomSource:
    return DicomSource(DicomSettings(kind="dicom", path=path, **{"slices": ALL, **settings}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Series:
    folder = tmp_path_factory.mktemp("ct")
    make_ct(folder, 3, spacing=(0.5, 1.25), orientation=(1, 0, 0, 0, 0.8, 0.6))
    return choose_series(folder)


def read(series: Series, path: Path, contours: list[Contour], **more: str) -> tuple[list[Outline], dict[str, str]]:
    write_rtstruct(path / "rt.dcm", series, {"A": contours}, **more)
    found = list(RtReader(dcmread(path / "rt.dcm"), Places(series), "rt.dcm").outlines())
    return [o for o in found if isinstance(o, Outline)], reasons(o for o in found if not isinstance(o, Outline))


def test_a_pixel_is_inside_where_its_centre_is(series: Series, tmp_path: Path) -> None:
    (outline,), said = read(series, tmp_path, [square(series, 1, 2.5, 3.5, 6.5, 9.5)])
    expected = np.zeros(series.shape[1:], dtype=bool)
    expected[3:7, 4:10] = True
    assert not said and outline.pixels == {1: 24}
    assert np.array_equal(outline.draw(1), expected)


@settings(max_examples=12)
@given(
    centre=st.tuples(st.floats(5, 18), st.floats(8, 24)),
    radius=st.floats(1.5, 4.5),
)
def test_a_circle_has_the_pixels_of_its_formula(series: Series, centre, radius: float, tmp_path_factory) -> None:
    angles = np.linspace(0, 2 * np.pi, 720, endpoint=False)
    ring = [(centre[0] + radius * np.sin(a), centre[1] + radius * np.cos(a)) for a in angles]
    (outline,), _ = read(series, tmp_path_factory.mktemp("rt"), [on_slice(series, 0, ring)])
    rows, columns = np.indices(series.shape[1:])
    away = np.hypot(rows - centre[0], columns - centre[1]) - radius
    certain = np.abs(away) > 0.01
    assert np.array_equal(outline.draw(0)[certain], (away < 0)[certain])


def test_a_contour_within_another_is_a_hole_and_two_apart_are_both(series: Series, tmp_path: Path) -> None:
    outer, inner = square(series, 0, 1.5, 1.5, 9.5, 9.5), square(series, 0, 3.5, 3.5, 6.5, 6.5)
    apart = square(series, 0, 12.5, 12.5, 14.5, 14.5)
    (outline,), _ = read(series, tmp_path, [outer, inner, apart])
    assert outline.pixels == {0: 64 - 9 + 4} and not outline.draw(0)[5, 5]


@pytest.mark.parametrize("way", WAYS[::5], ids=name)
def test_a_mask_lies_on_its_structure_however_the_images_are_stored(way, tmp_path: Path) -> None:
    made = choose_series(write_ct(tmp_path / "ct", way))
    low, high = spot_in_space()
    contours = []
    for index in range(len(made)):
        normal = Places(made).axes[2]
        position = np.array(made.position(index))
        if not min(low @ normal, high @ normal) - 0.1 <= position @ normal <= max(low @ normal, high @ normal) + 0.1:
            continue
        corners = Places(made).pixel_coordinates(np.stack([low, high]), index)
        (top, left), (bottom, right) = corners.min(axis=0) - 0.5, corners.max(axis=0) + 0.5
        contours.append(square(made, index, top, left, bottom, right))
    write_rtstruct(tmp_path / "rt.dcm", made, {"Spot": contours})
    found = pictures(items(source(tmp_path)))
    assert found
    for picture in found:
        assert np.array_equal(picture.targets[0].mask, picture.image == picture.image.max())


@pytest.mark.parametrize(
    ("spoil", "where", "said"),
    [
        (lambda c: setattr(c, "kind", "OPEN_PLANAR"), " slice 1", "a contour is not closed (OPEN_PLANAR); close it"),
        (lambda c: setattr(c, "kind", "POINT"), " slice 1", "a contour is not closed (POINT)"),
        (lambda c: setattr(c, "points", c.points[:2]), " slice 1", "has 2 point(s), at least 3"),
        (
            lambda c: setattr(c, "image", "1.2.3"),
            "",
            "contours in 1 plane(s) are not on the series: the image they refer",
        ),
        (lambda c: setattr(c, "points", c.points + 50), "", "they lie where no slice is"),
    ],
)
def test_a_contour_that_cannot_be_used_takes_its_slice_with_it(spoil, where, said, series: Series, tmp_path) -> None:
    good, bad, beside = (square(series, i, 2, 3, 8, 9) for i in (0, 1, 1))
    spoil(bad)
    spoiled = where != ""
    (outline,), reasons_ = read(series, tmp_path, [good, bad, *([beside] if spoiled else [])])
    assert list(outline.pixels) == [0]
    assert said in reasons_[f"rt.dcm ROI 1{where}"]


def test_a_contour_across_the_slices_is_refused(series: Series, tmp_path: Path) -> None:
    bad = square(series, 1, 2, 3, 8, 9)
    bad.points[0] += Places(series).axes[2] * 2
    outlines, said = read(series, tmp_path, [bad])
    assert not outlines and "lies across the slices" in said["rt.dcm ROI 1 slice 1"]


def test_a_contour_that_refers_to_another_image_than_it_lies_on_is_refused(series: Series, tmp_path: Path) -> None:
    bad = square(series, 1, 2, 3, 8, 9)
    bad.image = series.sop_instance_uid(0)
    outlines, said = read(series, tmp_path, [bad])
    assert not outlines and "refers to one image and lies on another" in said["rt.dcm ROI 1 slice 1"]


def test_another_frame_of_reference_is_refused(series: Series, tmp_path: Path) -> None:
    outlines, said = read(series, tmp_path, [square(series, 1, 2, 3, 8, 9)], frame="1.2.840.99")
    assert not outlines and "another frame of reference (…1.2.840.99)" in said["rt.dcm ROI 1"]


def test_contours_outside_the_picture_or_none_at_all_are_named(series: Series, tmp_path: Path) -> None:
    outlines, said = read(series, tmp_path, [square(series, 1, -9, -9, -2, -2)])
    assert not outlines and "enclose no pixel's centre" in said["rt.dcm ROI 1 slice 1"]
    assert read(series, tmp_path, [])[1] == {"rt.dcm ROI 1": "the ROI has no contours"}


def test_names_come_from_the_config_with_wildcards_or_leave_a_roi_out(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 2)
    made = choose_series(tmp_path / "ct")
    contours = [square(made, 0, 2, 3, 8, 9)]
    write_rtstruct(tmp_path / "rt.dcm", made, {"Tumor_c40": contours, "Left_Lung": contours, "PTV 60": contours})
    found = items(source(tmp_path, names={"tumor*": "lung tumor", "ptv*": ""}))
    assert [t.name for p in pictures(found) for t in p.targets] == ["lung tumor", "left lung"]
    assert reasons(found) == {"rt.dcm ROI 3": "left out by the config (names)"}


def test_a_real_structure_set_whose_slices_are_mostly_absent() -> None:
    if not REAL.is_dir():
        pytest.skip("the real volumes are not beside the repository (../shared/data/real_volumes)")
    folder = REAL / "dicom_rtstruct_4dlung"
    there = {str(dcmread(p, stop_before_pixels=True).SOPInstanceUID) for p in (folder / "CT").iterdir()}
    absent = [
        len(
            {
                float(c.ContourData[2])
                for c in roi.ContourSequence
                if c.ContourImageSequence[0][0x81155].value not in there
            }
        )
        for roi in dcmread(folder / "RTSTRUCT.dcm").ROIContourSequence
    ]
    found = items(source(folder, names={"*_c40": "structure"}))
    assert len(pictures(found)) == len(there) == 13
    lost = [i.masks for i in found if isinstance(i, Reject) and "the image they refer to is not there" in i.reason]
    assert lost == [count for count in absent if count] == [22, 4]


def test_broken_structure_sets_of_rt_utils_are_survived() -> None:
    if not REAL.is_dir():
        pytest.skip("the real volumes are not beside the repository (../shared/data/real_volumes)")
    found = items(source(REAL / "dicom_rtstruct_rtutils" / "mock_data"))
    said = reasons(found)
    assert "another frame of reference" in said["rt.dcm ROI 1"]
    assert {t.name for p in pictures(found) for t in p.targets} == {"roi-1", "roi-2", "roi-3", "roi-4"}
    empty = reasons(items(source(REAL / "dicom_rtstruct_rtutils" / "empty")))
    assert "which is not there; add its images" in empty["dummy_rt.dcm"]
