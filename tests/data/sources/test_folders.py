"""A folder of pictures and masks, named as BiomedParse names them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import is_image_group
from medreasoner_monai.data.sources.folders import FolderSource, folder_sources
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.data import FolderSettings
from medreasoner_monai.task.keypoints import mask_box


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def source(folder: Path, **settings: str) -> FolderSource:
    (found,) = folder_sources(FolderSettings(kind="folder", path=folder, **settings))
    return found


def items(folder: Path, **settings: str) -> list[LabelledImage | Reject]:
    found = source(folder, **settings)
    return [item for unit in found.units() for item in found.read(unit)]


def pictures(folder: Path, **settings: str) -> list[LabelledImage]:
    return [item for item in items(folder, **settings) if isinstance(item, LabelledImage)]


def rejects(folder: Path) -> dict[str, str]:
    return {item.where: item.reason for item in items(folder) if isinstance(item, Reject)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 15:40] = 255
    save(tmp_path / "images" / "01_CT_abdomen.png", image)
    save(tmp_path / "masks" / "01_CT_abdomen_left+kidney.png", mask)
    save(tmp_path / "masks" / "01_CT_abdomen_liver.png", mask // 255)
    return tmp_path


def test_a_mask_is_a_target_named_by_its_file(folder: Path) -> None:
    (picture,) = pictures(folder)
    assert (picture.id, picture.modality, picture.site) == ("01_CT_abdomen", "CT", "abdomen")
    kidney, liver = picture.targets
    assert (kidney.name, liver.name) == ("left kidney", "liver")
    assert mask_box(kidney.mask).xyxy == (15, 10, 40, 20)
    assert np.array_equal(kidney.mask, liver.mask), "0/1 and 0/255 mean the same"
    assert picture.origin.file == "images/01_CT_abdomen.png"


def test_the_patient_is_read_from_the_id_or_is_the_picture_itself(folder: Path) -> None:
    (known,) = pictures(folder, patient=r"^(\d+)_", name="set")
    assert known.group == "set/01"
    (unknown,) = pictures(folder)
    assert is_image_group(unknown.group)


def test_the_licence_comes_with_the_folder(folder: Path) -> None:
    (folder / "SOURCE.json").write_text(json.dumps({"licence": "CC BY 4.0"}))
    (picture,) = pictures(folder)
    assert picture.origin.licence == "CC BY 4.0" and "CC BY 4.0" in source(folder).description


def test_a_folder_of_folders_is_a_source_each(folder: Path, tmp_path: Path) -> None:
    for name in ("b", "a"):
        save(tmp_path / "sets" / name / "images" / "1_CT_abdomen.png", np.zeros((8, 8), dtype=np.uint8))
        save(tmp_path / "sets" / name / "masks" / "1_CT_abdomen_liver.png", np.eye(8, dtype=np.uint8))
    found = folder_sources(FolderSettings(kind="folder", path=tmp_path / "sets"))
    assert [s.name for s in found] == ["a", "b"]


def test_a_mask_with_its_images_name_has_a_target_for_each_value(folder: Path) -> None:
    values = np.zeros((40, 60), dtype=np.uint8)
    values[1:9, 1:9], values[20:30, 20:30] = 1, 2
    save(folder / "images" / "7.png", values)
    save(folder / "masks" / "7.png", values)
    picture = pictures(folder)[1]
    assert [(t.name, mask_box(t.mask).xyxy) for t in picture.targets] == [
        ("structure 1", (1, 1, 9, 9)),
        ("structure 2", (20, 20, 30, 30)),
    ]


def test_what_cannot_be_used_is_set_aside_with_its_reason(folder: Path) -> None:
    save(folder / "masks" / "01_CT_abdomen_spleen.png", np.zeros((40, 60), dtype=np.uint8))
    save(folder / "masks" / "01_CT_abdomen_stomach.png", np.ones((20, 30), dtype=np.uint8))
    (folder / "masks" / "01_CT_abdomen_vein.png").write_bytes(b"no picture")
    save(folder / "images" / "02_CT_abdomen.png", np.zeros((4, 4), dtype=np.uint8))
    reasons = rejects(folder)
    assert len(pictures(folder)[0].targets) == 2
    assert reasons["01_CT_abdomen_spleen.png"] == "the mask is empty"
    assert "30 x 20, its image 60 x 40" in reasons["01_CT_abdomen_stomach.png"]
    assert "not a readable picture" in reasons["01_CT_abdomen_vein.png"]
    assert "no mask" in reasons["02_CT_abdomen.png"]


def test_an_unreadable_image_takes_its_masks_with_it(folder: Path) -> None:
    (folder / "images" / "01_CT_abdomen.png").write_bytes(b"no picture")
    (reject,) = items(folder)
    assert isinstance(reject, Reject) and reject.masks == 2


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images"):
        folder_sources(FolderSettings(kind="folder", path=tmp_path))


def test_the_digest_follows_the_content(folder: Path) -> None:
    before = source(folder).digest()
    assert source(folder).digest() == before
    save(folder / "masks" / "01_CT_abdomen_liver.png", np.full((40, 60), 255, dtype=np.uint8))
    assert source(folder).digest() != before


def test_two_masks_of_one_target_are_not_taken_for_one_another(folder: Path) -> None:
    other = np.zeros((40, 60), dtype=np.uint8)
    other[1:4, 1:4] = 255
    save(folder / "masks" / "01_CT_abdomen_left kidney.png", other)
    (picture,) = pictures(folder)
    assert sorted(t.name for t in picture.targets) == ["left kidney", "liver"]
    (reason,) = rejects(folder).values()
    assert "01_CT_abdomen_left kidney.png has the target 'left kidney' of this image already" in reason


def test_a_mask_belongs_to_the_image_with_the_longest_name(tmp_path: Path) -> None:
    image, mask = np.zeros((8, 8), dtype=np.uint8), np.eye(8, dtype=np.uint8)
    for stem in ("case_1", "case_1_2", "case_10"):
        save(tmp_path / "images" / f"{stem}.png", image)
    for stem in ("case_1_liver", "case_1_2_liver", "case_1_3_spleen", "case_10", "case", "other_liver"):
        save(tmp_path / "masks" / f"{stem}.png", mask)
    assert {(p.id, t.name) for p in pictures(tmp_path) for t in p.targets} == {
        ("case_1", "liver"),
        ("case_1_2", "liver"),
        ("case_1", "3_spleen"),
        ("case_10", "structure 1"),
    }
    assert rejects(tmp_path) == dict.fromkeys(
        ("case.png", "other_liver.png"), "there is no image whose name it begins with"
    )


def test_deep_pictures_and_masks_are_read_as_they_are(tmp_path: Path) -> None:
    image = (np.arange(40 * 60).reshape(40, 60) * 4095 // 2399).astype(np.uint16)
    labels = np.zeros((40, 60), dtype=np.uint16)
    labels[2:9, 2:9], labels[20:30, 20:30] = 1, 300
    save(tmp_path / "images" / "7.png", image)
    save(tmp_path / "masks" / "7.png", labels)
    (picture,) = pictures(tmp_path)
    assert [mask_box(t.mask).xyxy for t in picture.targets] == [(2, 2, 9, 9), (20, 20, 30, 30)]
    assert np.array_equal(picture.image, np.rint(image * (255 / 4095)).astype(np.uint8))


def test_values_of_a_mask_have_names_where_the_config_gives_them(folder: Path) -> None:
    values = np.zeros((40, 60), dtype=np.uint8)
    values[1:9, 1:9], values[20:30, 20:30] = 3, 5
    save(folder / "images" / "7.png", values)
    save(folder / "masks" / "7.png", values)
    (found,) = folder_sources(
        FolderSettings(kind="folder", path=folder, values={5: "nerve"}, modality="US", site="neck")
    )
    picture = next(i for i in found.read(list(found.units())[1]) if isinstance(i, LabelledImage))
    assert [t.name for t in picture.targets] == ["structure 3", "nerve"], (
        "by its value, not its rank among this picture's"
    )
    assert (picture.modality, picture.site) == ("Ultrasound", "neck")
    assert [t.where for t in picture.targets] == ["7.png value 3", "7.png value 5"], "a place for each mask"


def test_the_sequence_stays_with_the_picture(tmp_path: Path) -> None:
    save(tmp_path / "images" / "1_MRI-FLAIR_brain.png", np.zeros((4, 4), dtype=np.uint8))
    save(tmp_path / "masks" / "1_MRI-FLAIR_brain_edema.png", np.eye(4, dtype=np.uint8))
    (picture,) = pictures(tmp_path)
    assert (picture.modality, picture.origin.sequence) == ("MRI", "FLAIR")


def test_a_licence_file_beside_the_folders_is_named(folder: Path) -> None:
    (folder / "LICENSE").write_text("\n   Apache License\n   Version 2.0, January 2004\n")
    assert pictures(folder)[0].origin.licence == "Apache License, Version 2.0, January 2004"
