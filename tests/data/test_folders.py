"""A folder of pictures and masks, named as BiomedParse names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.folders import folder_digest, folder_samples
from medreasoner_monai.data.schema import Sample
from medreasoner_monai.data.sources import Reject
from medreasoner_monai.errors import InputError


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image = np.arange(40 * 60, dtype=np.uint8).reshape(40, 60)
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[10:20, 15:40] = 255
    save(tmp_path / "images" / "01_CT_abdomen.png", image)
    save(tmp_path / "masks" / "01_CT_abdomen_left+kidney.png", mask)
    save(tmp_path / "masks" / "01_CT_abdomen_liver.png", mask // 255)
    return tmp_path


def test_a_mask_is_a_sample_named_by_its_file(folder: Path) -> None:
    kidney, liver = folder_samples(folder)
    assert isinstance(kidney, Sample)
    assert isinstance(liver, Sample)
    assert (kidney.id, kidney.category, kidney.modality) == ("01_CT_abdomen-left-kidney", "left kidney", "CT")
    assert kidney.question == "Where is the left kidney?"
    assert kidney.box.xyxy == (15, 10, 40, 20)
    assert kidney.supercategory == "Abdomen"
    assert np.array_equal(kidney.mask, liver.mask), "0/1 and 0/255 mean the same"


def test_a_mask_with_its_images_name_has_a_target_for_each_value(folder: Path) -> None:
    values = np.zeros((40, 60), dtype=np.uint8)
    values[1:9, 1:9], values[20:30, 20:30] = 1, 2
    save(folder / "images" / "7.png", values)
    save(folder / "masks" / "7.png", values)
    found = [s for s in folder_samples(folder) if isinstance(s, Sample)][2:]
    assert [(s.id, s.category, s.box.xyxy) for s in found] == [
        ("7-structure-1", "structure 1", (1, 1, 9, 9)),
        ("7-structure-2", "structure 2", (20, 20, 30, 30)),
    ]


def test_what_cannot_be_used_is_set_aside_with_its_reason(folder: Path) -> None:
    save(folder / "masks" / "01_CT_abdomen_spleen.png", np.zeros((40, 60), dtype=np.uint8))
    save(folder / "masks" / "01_CT_abdomen_stomach.png", np.ones((20, 30), dtype=np.uint8))
    (folder / "masks" / "01_CT_abdomen_vein.png").write_bytes(b"no picture")
    save(folder / "images" / "02_CT_abdomen.png", np.zeros((4, 4), dtype=np.uint8))
    found = list(folder_samples(folder))
    reasons = {r.where: r.reason for r in found if isinstance(r, Reject)}
    assert len(found) - len(reasons) == 2
    assert reasons["01_CT_abdomen_spleen.png"] == "the mask is empty"
    assert "30 x 20, its image 60 x 40" in reasons["01_CT_abdomen_stomach.png"]
    assert "no readable picture" in reasons["01_CT_abdomen_vein.png"]
    assert "no mask" in reasons["02_CT_abdomen.png"]


def test_an_empty_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="images"):
        list(folder_samples(tmp_path))


def test_the_digest_follows_the_content(folder: Path) -> None:
    before = folder_digest(folder)
    assert folder_digest(folder) == before
    save(folder / "masks" / "01_CT_abdomen_liver.png", np.full((40, 60), 255, dtype=np.uint8))
    assert folder_digest(folder) != before


def test_two_masks_of_one_target_are_not_taken_for_one_another(folder: Path) -> None:
    other = np.zeros((40, 60), dtype=np.uint8)
    other[1:4, 1:4] = 255
    save(folder / "masks" / "01_CT_abdomen_left kidney.png", other)
    samples = [s for s in folder_samples(folder) if isinstance(s, Sample)]
    (reject,) = (s for s in folder_samples(folder) if isinstance(s, Reject))
    assert sorted(s.id for s in samples) == ["01_CT_abdomen-left-kidney", "01_CT_abdomen-liver"]
    assert "another sample in 01_CT_abdomen_left kidney.png has this id" in reject.reason


def test_a_mask_belongs_to_the_image_with_the_longest_name(tmp_path: Path) -> None:
    image, mask = np.zeros((8, 8), dtype=np.uint8), np.eye(8, dtype=np.uint8)
    for stem in ("case_1", "case_1_2", "case_10"):
        save(tmp_path / "images" / f"{stem}.png", image)
    for stem in ("case_1_liver", "case_1_2_liver", "case_1_3_spleen", "case_10", "case", "other_liver"):
        save(tmp_path / "masks" / f"{stem}.png", mask)
    found = list(folder_samples(tmp_path))
    assert {(s.group, s.category) for s in found if isinstance(s, Sample)} == {
        ("case_1", "liver"),
        ("case_1_2", "liver"),
        ("case_1", "3_spleen"),
        ("case_10", "structure 1"),
    }
    rejects = {r.where: r.reason for r in found if isinstance(r, Reject)}
    assert rejects == dict.fromkeys(("case.png", "other_liver.png"), "there is no image whose name it begins with")


def test_deep_pictures_and_masks_are_read_as_they_are(tmp_path: Path) -> None:
    image = (np.arange(40 * 60).reshape(40, 60) * 4095 // 2399).astype(np.uint16)
    labels = np.zeros((40, 60), dtype=np.uint16)
    labels[2:9, 2:9], labels[20:30, 20:30] = 1, 300
    save(tmp_path / "images" / "7.png", image)
    save(tmp_path / "masks" / "7.png", labels)
    first, second = folder_samples(tmp_path)
    assert isinstance(first, Sample) and isinstance(second, Sample)
    assert (first.box.xyxy, second.box.xyxy) == ((2, 2, 9, 9), (20, 20, 30, 30))
    assert np.array_equal(first.image, np.rint(image * (255 / 4095)).astype(np.uint8))
