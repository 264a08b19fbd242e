"""DICOM Segmentations in a folder tree: on their slices, in their patients, under their codes' names."""

from __future__ import annotations

import pickle
from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.dicom_folder import DicomSource
from medreasoner_monai.data.sources.outlines import coded_name, target_name
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.settings.sources import DicomSettings, SliceSettings
from tests.data.sources.rtstruct import item
from tests.data.sources.volumes import items, pictures, reasons
from tests.dicom.made import ORIGIN, a_finding, a_mask, make_series
from tests.dicom.tools import make_ct, need_ct
from tests.dicom.turned import WAYS, name, write_ct

ALL = SliceSettings(take="all", min_area_mm2=0)


def source(path: Path, **settings: object) -> DicomSource:
    return DicomSource(DicomSettings(kind="dicom", path=path, **{"slices": ALL, **settings}))  # type: ignore[arg-type]


def write_seg(path: Path, series: Series, masks: np.ndarray, label: str = "Liver", **more: object) -> Dataset:
    """A binary segmentation of one segment; ``masks`` are ``(slices, rows, columns)`` in the order of the series."""
    described = hd.seg.SegmentDescription(
        1, label, codes.SCT.Organ, more.pop("type", codes.SCT.Liver), hd.seg.SegmentAlgorithmTypeValues.MANUAL
    )
    seg = hd.seg.Segmentation(
        source_images=[series.load(i)[0] for i in range(len(series))],
        pixel_array=masks,
        segmentation_type="BINARY",
        segment_descriptions=[described],
        series_instance_uid=hd.UID(),
        series_number=1,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="a",
        manufacturer_model_name="b",
        software_versions="1",
        device_serial_number="2",
        **more,
    )
    seg.save_as(path)
    return seg


def made_ct(folder: Path, slices: int = 3, **more: object) -> Series:
    make_ct(folder, slices, **more)  # type: ignore[arg-type]
    return choose_series(folder)


@pytest.mark.parametrize("way", WAYS[::7], ids=name)
def test_a_mask_lies_on_its_structure_however_the_images_are_stored(way, tmp_path: Path) -> None:
    series = choose_series(write_ct(tmp_path / "ct", way))
    stored = np.stack([series.load(i)[0].pixel_array for i in range(len(series))])
    write_seg(tmp_path / "seg.dcm", series, stored == stored.max())
    found = pictures(items(source(tmp_path)))
    assert sum(int(p.targets[0].mask.sum()) for p in found) == int((stored == stored.max()).sum())
    for picture in found:
        assert np.array_equal(picture.targets[0].mask, picture.image == picture.image.max())


@pytest.mark.parametrize("kind", ["binary", "fractional", "labelmap"])
def test_each_kind_of_segmentation_gives_the_masks_that_were_written(kind, tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    masks = {0: a_mask(series), 2: a_mask(series, 3, 12, 5, 20)}
    more = {"confidence": 0.9} if kind == "fractional" else {}
    save(build_seg(series, [a_finding(series, masks, **more)], ORIGIN, kind=kind), tmp_path / "seg.dcm")
    found = pictures(items(source(tmp_path)))
    assert {p.origin.slice: int(p.targets[0].mask.sum()) for p in found} == {i: int(m.sum()) for i, m in masks.items()}
    for picture in found:
        assert picture.origin.slice is not None and np.array_equal(picture.targets[0].mask, masks[picture.origin.slice])


@pytest.mark.parametrize("kind", ["CT, enhanced", "US, clip"])
def test_frames_of_a_multi_frame_image_are_found(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    masks = {len(series) - 1: a_mask(series)}
    save(build_seg(series, [a_finding(series, masks)], ORIGIN), tmp_path / "seg.dcm")
    for path in tmp_path.rglob("*"):  # what the image was made of is another series
        if path.is_file() and "single" in path.parts:
            path.unlink()
    (picture,) = pictures(items(source(tmp_path)))
    assert picture.origin.slice == len(series) - 1
    assert picture.origin.frame == series.planes[len(series) - 1].frame + 1
    assert np.array_equal(picture.targets[0].mask, series.orientation(0).turn(masks[len(series) - 1]))


def test_a_segmentation_of_a_cropped_mirrored_grid_is_taken_to_the_slices_grid(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct", spacing=(0.5, 1.25))
    whole = np.zeros((24, 32), dtype=bool)
    whole[5:11, 9:21] = True
    top, left, rows, columns = 4, 7, 10, 20  # the crop
    mirrored = whole[top : top + rows, left : left + columns][:, ::-1]
    positions = []
    for i in range(3):
        corner = np.add(series.position(i), [(left + columns - 1) * 1.25, top * 0.5, 0])
        positions.append(hd.PlanePositionSequence("PATIENT", corner))
    write_seg(
        tmp_path / "seg.dcm",
        series,
        np.stack([mirrored] * 3),
        plane_positions=positions,
        plane_orientation=hd.PlaneOrientationSequence("PATIENT", [-1, 0, 0, 0, 1, 0]),
        pixel_measures=hd.PixelMeasuresSequence([0.5, 1.25], 2.5),
    )
    found = pictures(items(source(tmp_path)))
    assert len(found) == 3
    for picture in found:
        assert np.array_equal(picture.targets[0].mask, whole)


def test_the_picture_carries_where_it_came_from(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct", spacing=(0.5, 1.25))
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    header = series.headers[0]
    picture = pictures(items(source(tmp_path, licence="CC0")))[1]
    assert (picture.origin.study, picture.origin.series) == (header.StudyInstanceUID, series.uid)
    assert picture.origin.instance == series.sop_instance_uid(1) and picture.origin.frame == 1
    assert (picture.origin.plane, picture.origin.left, picture.origin.licence) == ("axial", "right", "CC0")
    assert picture.origin.window == "40/400" and picture.origin.file == "ct"
    assert (picture.modality, picture.spacing) == ("CT", (0.5, 1.25))
    assert np.array_equal(picture.image, series.view(1).pixels)


def test_patients_are_pseudonyms_that_a_secret_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    series = made_ct(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    patient = str(series.headers[0].PatientID)

    def groups(**settings: object) -> set[str]:
        return {p.group for p in pictures(items(source(tmp_path, **settings)))}

    (plain,) = groups()
    assert plain.startswith("patient-") and patient not in plain and groups(name="other") == {plain}
    monkeypatch.setenv("SECRET", "s")
    (keyed,) = groups(pseudonym_key_env="SECRET")
    assert keyed != plain
    monkeypatch.delenv("SECRET")
    with pytest.raises(ConfigError, match="SECRET"):
        groups(pseudonym_key_env="SECRET")
    (tmp_path / "aliases.csv").write_text(f"source,patient,group\n,{plain},shared-1\n")
    assert groups(aliases=tmp_path / "aliases.csv") == {"shared-1"}


def test_a_tree_of_studies_gives_each_series_its_own_segmentation(tmp_path: Path) -> None:
    for number, label in enumerate(("one", "two")):
        series = made_ct(tmp_path / label, 2)
        masks = np.zeros(series.shape, dtype=bool)
        masks[number, 2:9, 3:7] = True
        write_seg(tmp_path / f"{label}.dcm", series, masks)
    made_ct(tmp_path / "three", 2)
    (tmp_path / "notes.txt").write_text("no DICOM")
    given = source(tmp_path)
    assert len(list(given.units())) == 2 and "1 series without outlines left out" in given.description
    assert sorted((p.origin.file, p.origin.slice) for p in pictures(items(given))) == [("one", 0), ("two", 1)]


def test_a_segmentation_whose_images_are_absent_is_counted(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    other = made_ct(tmp_path / "in" / "other")
    (tmp_path / "seg.dcm").rename(tmp_path / "in" / "seg.dcm")
    assert len(other) == 3
    (reject,) = items(source(tmp_path / "in"))
    assert isinstance(reject, Reject) and reject.masks == 1
    assert f"refers to the series …{series.uid[-12:]}, which is not there" in reject.reason


def test_frames_on_absent_slices_are_counted_and_the_rest_kept(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct", 4)
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 4))
    gone = series.sources[3]
    Path(gone.name).unlink()
    found = items(source(tmp_path))
    assert len(pictures(found)) == 3
    (lost,) = [i for i in found if isinstance(i, Reject)]
    assert (lost.where, lost.masks) == ("seg.dcm segment 1", 1) and "there is no image where it lies" in lost.reason


def test_another_frame_of_reference_and_damage_are_refused(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    seg = write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    seg.FrameOfReferenceUID = "1.2.840.99"
    seg.save_as(tmp_path / "seg.dcm")
    assert "another frame of reference (…1.2.840.99)" in reasons(items(source(tmp_path)))["seg.dcm"]
    del seg.SegmentSequence[0].SegmentNumber
    seg.save_as(tmp_path / "seg.dcm")
    assert "cannot be read" in reasons(items(source(tmp_path)))["seg.dcm"]


def test_two_segments_of_one_name_are_not_merged(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    for number in (1, 2):
        write_seg(tmp_path / f"seg{number}.dcm", series, np.stack([a_mask(series)] * 3))
    found = items(source(tmp_path))
    assert [len(p.targets) for p in pictures(found)] == [1, 1, 1]
    assert reasons(found)["seg2.dcm segment 1 slice 0"].startswith("seg1.dcm segment 1 slice 0 has the target 'liver'")


def test_a_series_that_contradicts_itself_is_refused_with_its_masks(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    path = Path(series.sources[0].name)
    other = dcmread(path)
    other.PatientID = "somebody else"
    other.save_as(path)
    (reject,) = items(source(tmp_path))
    assert isinstance(reject, Reject) and reject.masks == 1 and "PatientID" in reject.reason
    assert "somebody else" not in reject.reason


@pytest.mark.parametrize(
    ("segment", "name"),
    [
        (item(SegmentedPropertyTypeCodeSequence=[item(CodeMeaning="Liver")]), "liver"),
        (
            item(
                SegmentedPropertyTypeCodeSequence=[item(CodeMeaning="Kidney")],
                SegmentedPropertyTypeModifierCodeSequence=[item(CodeMeaning="Left")],
            ),
            "left kidney",
        ),
        (
            item(
                SegmentedPropertyTypeCodeSequence=[item(CodeMeaning="Nodule")],
                AnatomicRegionSequence=[
                    item(CodeMeaning="Lung", AnatomicRegionModifierSequence=[item(CodeMeaning="Right")])
                ],
            ),
            "right lung nodule",
        ),
        (item(SegmentedPropertyTypeCodeSequence=[item(CodeMeaning="Tissue")]), ""),
        (item(RTROIIdentificationCodeSequence=[item(CodeMeaning="Heart")]), "heart"),
        (item(), ""),
    ],
)
def test_codes_are_read_as_side_region_and_type(segment: Dataset, name: str) -> None:
    assert coded_name(segment) == name


def test_a_label_stands_in_where_codes_say_nothing() -> None:
    assert target_name("Kidney_Left", "", {}) == "kidney left"
    assert target_name("Kidney_Left", "left kidney", {"kidney*": "kidney"}) == "kidney"
    assert target_name("GTV", "", {"gtv": ""}) is None


def test_a_source_travels_to_another_process_and_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    series = made_ct(tmp_path / "ct")
    write_seg(tmp_path / "seg.dcm", series, np.stack([a_mask(series)] * 3))
    given = source(tmp_path)
    (unit,) = given.units()
    again = pickle.loads(pickle.dumps(given))
    assert [p.id for p in pictures(again.read(unit))] == [p.id for p in pictures(given.read(unit))]
    assert again.identity() == given.identity()
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no DICOM file found"):
        list(source(tmp_path / "empty").units())


def test_the_real_livers_masks_are_those_of_the_nrrd_beside_it() -> None:
    """The NRRD (LPS) is another rendering of the same segmentation, by another program."""
    folder = need_ct()
    found = pictures(items(source(folder)))
    values, header = nrrd.read(str(folder / "segmentations" / "liver_seg.nrrd"))
    assert header["space"] == "left-posterior-superior" and np.all(np.diag(header["space directions"]) > 0)
    assert [t.name for p in found for t in p.targets] == ["liver"] * 3
    for picture in found:
        assert picture.origin.slice is not None
        assert np.array_equal(picture.targets[0].mask, values[:, :, picture.origin.slice].T > 0)
