"""NIfTI volumes: hung and rendered as DICOM is, whichever way they are stored; layouts; and what cannot be used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from medreasoner_monai.data.sources.nifti import NiftiSource
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.dicom.view import View
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.sources import NiftiSettings, SliceSettings
from tests.data.sources.volumes import LPS_TO_RAS, items, pictures, reasons, turned, write_nifti
from tests.dicom.turned import SPOT, WAYS, body, name, write_ct

ALL = SliceSettings(take="all", min_area_mm2=0)
PLANES = ("axial", "coronal", "sagittal")


def source(path: Path, **settings: object) -> NiftiSource:
    settings = {"labels": {1: "spot"}, "modality": "CT", **settings}
    return NiftiSource(NiftiSettings(kind="nifti", path=path, **settings))  # type: ignore[arg-type]


def case(folder: Path, values: np.ndarray, labels: np.ndarray | None = None, affine: np.ndarray | None = None) -> Path:
    write_nifti(folder / "images" / "p1.nii.gz", values, affine)
    marked = (np.indices(values.shape[:3]).sum(axis=0) < 9).astype(np.uint8) if labels is None else labels
    write_nifti(folder / "labels" / "p1.nii.gz", marked, affine)
    return folder


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[View]]:
    """The same body as DICOM, acquired in each plane."""
    folder = tmp_path_factory.mktemp("dicom")
    none = (False, False, False)
    ways = {"axial": ((0, 1, 2), none), "coronal": ((1, 0, 2), none), "sagittal": ((2, 0, 1), none)}
    series = {plane: choose_series(write_ct(folder / plane, way)) for plane, way in ways.items()}
    return {plane: [found.view(i) for i in range(len(found))] for plane, found in series.items()}


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_a_volume_is_shown_as_its_dicom_copy_however_it_is_stored(
    way, views: dict[str, list[View]], tmp_path: Path
) -> None:
    spot = np.zeros(body().shape, dtype=np.uint8)
    spot[SPOT] = 1
    values, affine = turned(body(), way)
    case(tmp_path, values, turned(spot, way)[0], affine)
    found = pictures(items(source(tmp_path, planes=PLANES, slices=ALL, rule="window:40,800")))
    assert len(found) == sum(s.stop - s.start for s in SPOT)
    for picture in found:
        plane = picture.origin.plane
        same = next(v for v in views[plane] if np.array_equal(v.pixels, picture.image))
        (target,) = picture.targets
        assert np.array_equal(target.mask, same.pixels == same.pixels.max())
        assert same.spacing is not None and picture.spacing == (same.spacing.row, same.spacing.column)
        assert picture.origin.window == "40/800"
        assert picture.origin.left == ("" if plane == "sagittal" else "right")


def test_the_default_rule_is_that_of_a_dicom_file_without_a_window(tmp_path: Path) -> None:
    values, affine = turned(body(), WAYS[0])
    case(tmp_path / "n", values, affine=affine)
    shown = pictures(items(source(tmp_path / "n", slices=ALL, planes=("axial",))))
    plain = choose_series(write_ct(tmp_path / "d", WindowCenter=None, WindowWidth=None))
    for picture in shown:
        assert picture.origin.slice is not None
        view = plain.view(picture.origin.slice)
        assert np.array_equal(picture.image, view.pixels) and picture.origin.rule == view.rule_digest


def test_an_oblique_volume_is_hung_as_the_nearest_plane(tmp_path: Path) -> None:
    values, affine = turned(body(), WAYS[0])
    angle = np.radians(20)
    tilt = np.eye(4)
    tilt[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    straight = pictures(items(source(case(tmp_path / "a", values, affine=affine))))
    oblique = pictures(items(source(case(tmp_path / "b", values, affine=tilt @ affine))))
    assert [p.origin.plane for p in oblique] == ["axial"] == [p.origin.plane for p in straight]
    assert np.array_equal(oblique[0].image, straight[0].image) and oblique[0].spacing == pytest.approx(
        straight[0].spacing
    )


def test_the_acquired_plane_is_across_the_largest_spacing(tmp_path: Path) -> None:
    values = np.zeros((12, 14, 16), dtype=np.int16)
    for number, plane in enumerate(("sagittal", "coronal", "axial")):
        affine = np.diag([4.0 if axis == number else 1.5 for axis in range(3)] + [1.0])
        (picture,) = pictures(items(source(case(tmp_path / plane, values, affine=affine))))
        assert picture.origin.plane == plane and picture.spacing == (1.5, 1.5)


def test_the_scale_of_the_file_is_applied_before_the_window(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full((8, 8, 3), 70, dtype=np.int16), np.eye(4))
    image.header.set_slope_inter(2, -100)
    (tmp_path / "images").mkdir()
    nib.save(image, tmp_path / "images" / "p1.nii.gz")
    write_nifti(tmp_path / "labels" / "p1.nii.gz", np.ones((8, 8, 3), dtype=np.uint8))
    (picture,) = pictures(items(source(tmp_path)))
    assert set(np.unique(picture.image)) == {round(255 * ((40 - 39.5) / 399 + 0.5))}, "70 * 2 - 100 = 40 HU, mid-window"


def test_nnunet_names_its_labels_channels_and_regions(tmp_path: Path) -> None:
    labels = np.zeros((8, 8, 4), dtype=np.uint8)
    labels[1:4, 1:4], labels[4:7, 4:7] = 1, 2
    for number in (0, 1):
        values = np.full((8, 8, 4), number * 100, dtype=np.int16)
        values[0, 0] = number + 1
        write_nifti(tmp_path / "imagesTr" / f"case_7_000{number}.nii.gz", values)
    write_nifti(tmp_path / "labelsTr" / "case_7.nii.gz", labels)
    stated = {
        "channel_names": {"0": "T1w", "1": "FLAIR"},
        "labels": {"background": 0, "whole_tumor": [1, 2], "core": 2},
        "licence": "CC BY 4.0",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(stated))
    (picture,) = pictures(items(source(tmp_path, labels={}, modality="", channel=1, slices=ALL)))[:1]
    assert {t.name: int(t.mask.sum()) for t in picture.targets} == {"whole tumor": 18, "core": 9}
    assert (picture.modality, picture.origin.sequence, picture.origin.licence) == ("MRI", "FLAIR", "CC BY 4.0")
    assert picture.origin.file == "imagesTr/case_7_0001.nii.gz"
    assert picture.labelled == {"whole tumor", "core"}


def test_msd_names_labels_by_value_and_holds_channels_in_a_fourth_axis(tmp_path: Path) -> None:
    values = np.stack([np.zeros((8, 8, 4)), np.ones((8, 8, 4))], axis=3).astype(np.int16)
    values[0, 0, :, 1] = 50
    write_nifti(tmp_path / "imagesTr" / "BRATS_001.nii.gz", values)
    write_nifti(tmp_path / "imagesTr" / "._BRATS_001.nii.gz", values)
    write_nifti(tmp_path / "labelsTr" / "BRATS_001.nii.gz", np.ones((8, 8, 4), dtype=np.uint8))
    (tmp_path / "dataset.json").write_text(
        json.dumps({"modality": {"0": "FLAIR", "1": "T2w"}, "labels": {"0": "background", "1": "Edema"}})
    )
    given = source(tmp_path, labels={}, modality="", channel=1)
    (picture,) = pictures(items(given))
    assert (picture.targets[0].name, picture.origin.sequence) == ("edema", "T2w")
    (reason,) = reasons(items(source(tmp_path, labels={}, channel=2))).values()
    assert "has 2 channels, counted from 0, and channel 2 was asked for" in reason


def test_totalsegmentator_has_a_mask_for_each_target(tmp_path: Path) -> None:
    mask = np.zeros((8, 8, 4), dtype=np.uint8)
    mask[2:5, 2:5] = 1
    write_nifti(tmp_path / "s0001" / "ct.nii.gz", np.zeros((8, 8, 4), dtype=np.int16))
    write_nifti(tmp_path / "s0001" / "segmentations" / "kidney_left.nii.gz", mask)
    write_nifti(tmp_path / "s0001" / "segmentations" / "liver.nii.gz", np.zeros_like(mask))
    write_nifti(tmp_path / "s0001" / "segmentations" / "spleen.nii.gz", mask[:4])
    found = items(source(tmp_path, slices=ALL))
    assert {t.name for p in pictures(found) for t in p.targets} == {"kidney left"}
    assert reasons(found) == {
        "s0001/segmentations/spleen.nii.gz": "spleen.nii.gz has 4 x 8 x 4 voxels, its image 8 x 8 x 4"
    }


def test_slices_of_a_volume_stay_together(tmp_path: Path) -> None:
    case(tmp_path, np.zeros((8, 8, 6), dtype=np.int16))
    found = pictures(items(source(tmp_path, slices=ALL, patient="")))
    assert len(found) > 1 and {p.group for p in found} == {f"{tmp_path.name}/p1"}
    assert len({p.id for p in found}) == len(found)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda f: write_nifti(f / "images" / "p1.nii.gz", np.zeros((8, 8, 4), np.int16), code=0),
            "does not say how it",
        ),
        (lambda f: (f / "images" / "p1.nii.gz").write_bytes(b"no volume"), "not a readable NIfTI file"),
        (lambda f: truncate(f / "images" / "p1.nii.gz"), "not a readable NIfTI file"),
        (lambda f: write_nifti(f / "images" / "p1.nii.gz", np.zeros((8, 8, 4, 2, 2), np.int16)), "8 x 8 x 4 x 2 x 2"),
        (lambda f: write_nifti(f / "images" / "p1.nii.gz", np.zeros((8, 8), np.int16)), "has the shape 8 x 8"),
        (lambda f: write_nifti(f / "labels" / "p1.nii.gz", np.full((8, 8, 4), 0.5, np.float32)), "no whole numbers"),
        (lambda f: write_nifti(f / "labels" / "p1.nii.gz", np.full((8, 8, 4), -1, np.int16)), "negative labels"),
        (lambda f: write_nifti(f / "labels" / "p1.nii.gz", np.ones((8, 8, 4, 2), np.uint8)), "three axes"),
        (
            lambda f: write_nifti(f / "labels" / "p1.nii.gz", np.ones((8, 8, 4), np.uint8), np.diag([2.0, 1, 1, 1])),
            "else",
        ),
        (lambda f: (f / "labels" / "p1.nii.gz").unlink(), "no label map of its name"),
        (lambda f: (f / "images" / "p1.nii.gz").rename(f / "images" / "p2.nii.gz"), "no image of its name"),
    ],
)
def test_a_volume_that_cannot_be_used_is_set_aside_with_its_reason(spoil, said: str, tmp_path: Path) -> None:
    spoil(case(tmp_path, np.zeros((8, 8, 4), dtype=np.int16)))
    found = items(source(tmp_path))
    assert not pictures(found)
    assert any(said in reason for reason in reasons(found).values()), reasons(found)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize(
    ("axes", "said"),
    [
        (np.diag([1.0, 1, 0, 1]), "zero, missing or skewed axis"),
        (np.diag([1.0, np.nan, 1, 1]), "zero, missing or skewed axis"),
        (np.array([[1.0, 0.9, 0.9, 0], [0, 1, 0.9, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "zero, missing or skewed axis"),
    ],
)
def test_an_affine_that_is_none_is_refused(axes: np.ndarray, said: str, tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.header["sform_code"] = 1
    for row, place in enumerate(("srow_x", "srow_y", "srow_z")):
        image.header[place] = axes[row]
    case(tmp_path, np.zeros((4, 4, 4), np.int16))
    path = tmp_path / "images" / "p1.nii.gz"
    (tmp_path / "images" / "p1.nii.gz").unlink()
    path = tmp_path / "images" / "p1.nii"
    with path.open("wb") as file:
        image.header["vox_offset"] = 352
        image.header["magic"] = b"n+1"
        image.header.write_to(file)
        file.write(bytes(4) + bytes(128))
    assert any(said in reason for reason in reasons(items(source(tmp_path))).values())


def test_an_sform_that_contradicts_the_qform_leaves_left_and_right_unknown(tmp_path: Path) -> None:
    case(tmp_path, np.zeros((8, 8, 4), np.int16))
    image = nib.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.eye(4))
    image.set_sform(np.diag([-1.0, 1, 1, 1]), 1)
    image.set_qform(np.eye(4), 1)
    nib.save(image, tmp_path / "images" / "p1.nii.gz")
    (reason,) = reasons(items(source(tmp_path))).values()
    assert "contradict each other (LAS and RAS)" in reason


def test_a_sheared_volume_is_shown_in_its_acquired_plane_alone(tmp_path: Path) -> None:
    """A tilted gantry: slices are shifted against each other, and reformatted pictures would be sheared."""
    affine = np.diag([1.0, 1, 2, 1])
    affine[1, 2] = 0.6
    case(tmp_path, np.zeros((8, 8, 6), np.int16), affine=affine)
    found = items(source(tmp_path, planes=("acquired", "sagittal")))
    assert {p.origin.plane for p in pictures(found)} == {"axial"}
    assert "not perpendicular" in reasons(found)["images/p1.nii.gz sagittal"]


def test_long_pixels_are_no_picture(tmp_path: Path) -> None:
    case(tmp_path, np.zeros((8, 8, 6), np.int16), affine=np.diag([1.0, 1, 5, 1]))
    (reason,) = reasons(items(source(tmp_path, planes=("axial", "coronal")))).values()
    assert reason.startswith("the coronal plane is not taken: its pixels are 5.00 x 1.00 mm")


def test_labels_without_a_name_and_targets_too_small_are_counted(tmp_path: Path) -> None:
    labels = np.zeros((8, 8, 4), np.uint8)
    labels[:4, :4, 1], labels[7, 7, 2], labels[6, 6, 3] = 1, 2, 9
    case(tmp_path, np.zeros((8, 8, 4), np.int16), labels)
    found = items(source(tmp_path, labels={1: "liver", 2: "cyst"}, slices=SliceSettings(min_area_mm2=4)))
    assert [[t.name for t in p.targets] for p in pictures(found)] == [["liver"]]
    said = reasons(found)
    assert "label 9 has no name; name it in the config (labels: {9: NAME})" in said["labels/p1.nii.gz label 9"]
    assert "the largest area is 1.0 mm²" in said["images/p1.nii.gz axial cyst"]


def test_voxels_without_a_number_are_black(tmp_path: Path) -> None:
    values = np.full((8, 8, 3), 40, np.float32)
    values[2, 3] = np.nan
    (picture,) = pictures(items(source(case(tmp_path, values))))
    assert (picture.image == 0).sum() == 1


@pytest.mark.parametrize("outside", ["../other/x.nii.gz", "/etc/x.nii.gz"])
def test_names_that_lead_out_of_the_folder_are_refused(outside: str, tmp_path: Path) -> None:
    case(tmp_path / "in", np.zeros((4, 4, 4), np.int16))
    with pytest.raises(InputError, match="leads out of the folder"):
        list(source(tmp_path / "in", pairs={"images/p1.nii.gz": outside}).units())


def test_units_of_the_file_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((8, 8, 4), np.int16), np.diag([0.001, 0.001, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    image.set_sform(image.affine, 1)
    for kind, data in (("images", np.zeros((8, 8, 4), np.int16)), ("labels", np.ones((8, 8, 4), np.uint8))):
        (tmp_path / kind).mkdir()
        nib.save(nib.Nifti1Image(data, image.affine, image.header), tmp_path / kind / "p1.nii.gz")
    (picture,) = pictures(items(source(tmp_path)))
    assert picture.spacing == pytest.approx((1, 1))


def test_a_source_travels_to_another_process_and_knows_its_content(tmp_path: Path) -> None:
    given = source(case(tmp_path, np.zeros((8, 8, 4), np.int16)))
    (unit,) = given.units()
    again = pickle.loads(pickle.dumps(given))
    assert [i.id for i in pictures(again.read(unit))] == [i.id for i in pictures(given.read(unit))]
    before = given.identity()
    write_nifti(tmp_path / "labels" / "p1.nii.gz", np.ones((8, 8, 4), np.uint8))
    assert source(tmp_path).identity() != before


def test_the_axes_of_the_made_volume_are_those_of_nifti() -> None:
    """The tests' own geometry, by nibabel's words for it."""
    _, affine = turned(body(), WAYS[0])
    assert nib.aff2axcodes(affine) == ("S", "P", "L")
    assert np.allclose(LPS_TO_RAS @ LPS_TO_RAS, np.eye(4))
    assert isinstance(WAYS, Sequence) and len(WAYS) == 48
