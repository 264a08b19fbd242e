"""Pictures and masks that a mapping file lists; and what a mapping may get wrong."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import is_image_group
from medreasoner_monai.data.sources.mapped import MappedSource
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.sources import MappedSettings
from tests.data.sources.bombs import bomb
from tests.data.sources.volumes import items, pictures, reasons

HEAD = "image,mask,target,value,patient,modality,site,spacing,licence"


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = Image.fromarray(pixels)
    (made.convert(mode) if mode else made).save(path)
    return path


def source(folder: Path, *lines: str, head: str = HEAD, **settings: object) -> MappedSource:
    mapping = folder / "map.csv"
    mapping.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
    return MappedSource(MappedSettings(kind="mapped", path=folder, mapping=mapping, **settings))  # type: ignore[arg-type]


def yaml_source(folder: Path, text: str, **settings: object) -> MappedSource:
    (folder / "map.yaml").write_text(text, encoding="utf-8")
    return MappedSource(MappedSettings(kind="mapped", path=folder, mapping=folder / "map.yaml", **settings))  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    labels = np.zeros((6, 8), dtype=np.uint8)
    labels[1:3, 1:3], labels[4:6, 2:7] = 1, 2
    save(tmp_path / "scans" / "a.jpg", np.full((6, 8), 90, dtype=np.uint8))
    save(tmp_path / "drawn" / "a-labels.png", labels)
    return tmp_path


def test_rows_of_one_image_become_its_targets(folder: Path) -> None:
    (picture,) = pictures(
        items(
            source(
                folder,
                "scans/a.jpg,drawn/a-labels.png,Left_Kidney,1,p7,MRI-T2,abdomen,0.5 x 0.75,CC0",
                "scans/a.jpg,drawn/a-labels.png,liver,2,,,,,",
                name="set",
            )
        )
    )
    assert {t.name: int(t.mask.sum()) for t in picture.targets} == {"left kidney": 4, "liver": 10}
    assert (picture.id, picture.group, picture.spacing) == ("scans/a", "set/p7", (0.5, 0.75))
    assert (picture.modality, picture.site, picture.origin.sequence) == ("MRI", "abdomen", "T2")
    assert (picture.origin.file, picture.origin.licence) == ("scans/a.jpg", "CC0")


def test_yaml_names_values_and_colours(folder: Path) -> None:
    colours = np.zeros((6, 8, 3), dtype=np.uint8)
    colours[0, 0], colours[5] = (255, 0, 0), (0, 128, 0)
    save(folder / "drawn" / "a-colours.png", colours)
    (picture,) = pictures(
        items(
            yaml_source(
                folder,
                "- {image: scans/a.jpg, mask: drawn/a-labels.png, values: {1: cyst, 2: liver}, spacing: [1, 2]}\n"
                "- {image: scans/a.jpg, mask: drawn/a-colours.png, values: {'#ff0000': needle, '#008000': skin}}\n",
            )
        )
    )
    assert {t.name: int(t.mask.sum()) for t in picture.targets} == {"cyst": 4, "liver": 10, "needle": 1, "skin": 8}
    assert picture.spacing == (1, 2) and is_image_group(picture.group)


@pytest.mark.parametrize("mode", ["P", "L", "RGBA", "I;16"])
def test_masks_of_any_kind_of_png(mode: str, folder: Path) -> None:
    mask = np.zeros((6, 8), dtype=np.uint8)
    mask[2:4, 3:6] = 200
    path = folder / "drawn" / "m.png"
    if mode == "I;16":
        save(path, mask.astype(np.uint16) * 256)
    else:
        save(path, mask, mode)
    (picture,) = pictures(items(source(folder, "scans/a.jpg,drawn/m.png,cyst,,,,,,")))
    assert np.array_equal(picture.targets[0].mask, mask > 0)


def test_what_cannot_be_used_is_set_aside_and_the_rest_goes_on(folder: Path) -> None:
    save(folder / "drawn" / "small.png", np.ones((3, 3), dtype=np.uint8))
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8)).save(whole, "PNG")
    (folder / "drawn" / "cut.png").write_bytes(whole.getvalue()[:-300])
    (folder / "drawn" / "bomb.png").write_bytes(bomb())
    rows = [
        f"scans/a.jpg,{mask},{target},{value},,,,,"
        for mask, target, value in (
            ("drawn/a-labels.png", "kidney", "1"),
            ("drawn/a-labels.png", "kidney", "2"),
            ("drawn/a-labels.png", "spleen", "9"),
            ("drawn/small.png", "vein", ""),
            ("drawn/cut.png", "artery", ""),
            ("drawn/bomb.png", "mass", ""),
            ("drawn/none.png", "nerve", ""),
            ("../map.csv", "bone", ""),
            ("/etc/passwd", "skin", ""),
        )
    ]
    given = source(folder, *rows, "scans/b.jpg,drawn/a-labels.png,liver,2,,,,,")
    found = items(given)
    assert [[t.name for t in p.targets] for p in pictures(found)] == [["kidney"]]
    said = reasons(found)
    assert said["drawn/a-labels.png value 2"].startswith("drawn/a-labels.png value 1 has the target 'kidney'")
    assert said["drawn/a-labels.png value 9"].endswith("the mask is empty")
    assert said["drawn/small.png"] == "map.csv line 5: the mask is 3 x 3, its image 8 x 6"
    assert "cut.png is not a readable picture" in said["drawn/cut.png"]
    assert "exceeds limit" in said["drawn/bomb.png"]
    assert "none.png is not there" in said["drawn/none.png"] and "b.jpg is not there" in said["scans/b.jpg"]
    assert "leads out of the folder" in said["../map.csv"] and "leads out of the folder" in said["/etc/passwd"]
    assert sum(i.masks if isinstance(i, Reject) else len(i.targets) for i in found) == len(rows) + 1
    assert sum(unit.masks for unit in given.units()) == len(rows) + 1


def test_a_link_that_leads_out_of_the_folder_is_not_followed(folder: Path, tmp_path_factory) -> None:
    elsewhere = save(tmp_path_factory.mktemp("other") / "m.png", np.ones((6, 8), dtype=np.uint8))
    (folder / "drawn" / "link.png").symlink_to(elsewhere)
    (reason,) = reasons(items(source(folder, "scans/a.jpg,drawn/link.png,liver,,,,,,"))).values()
    assert "leads out of the folder" in reason


def test_a_picture_without_masks_shows_nothing_only_where_the_mapping_is_complete(folder: Path) -> None:
    save(folder / "scans" / "healthy.png", np.full((6, 8), 10, dtype=np.uint8))
    rows = ["scans/healthy.png,,,,,,,,", "scans/a.jpg,drawn/a-labels.png,cyst,1,,,,,"]
    healthy, _ = pictures(items(source(folder, *rows, complete=True)))
    assert not healthy.targets and healthy.labelled == {"cyst"}
    found = items(source(folder, *rows))
    assert [p.id for p in pictures(found)] == ["scans/a"] and "`complete`" in reasons(found)["scans/healthy.png"]


def test_one_image_of_two_patients_is_refused(folder: Path) -> None:
    (reject,) = items(
        source(folder, "scans/a.jpg,drawn/a-labels.png,a,1,p1,,,,", "scans/a.jpg,drawn/a-labels.png,b,2,p2,,,,")
    )
    assert isinstance(reject, Reject) and "two patients" in reject.reason and reject.masks == 2


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (",drawn/a.png,liver,,,,,,", "map.csv line 2: no image"),
        ("a.jpg,,liver,,,,,,", "a target without a mask"),
        ("a.jpg,m.png,,,,,,,", "either a target or values"),
        ("a.jpg,m.png,liver,zero,,,,,", "found 'zero'"),
        ("a.jpg,m.png,liver,,,,,wide,", "found 'wide'"),
        ("a.jpg,m.png,liver,,,,,-1 x 2,", "found '-1 x 2'"),
    ],
)
def test_a_mistake_in_the_mapping_is_named_by_its_line(line: str, said: str, folder: Path) -> None:
    with pytest.raises(InputError, match=said):
        list(source(folder, line).units())


def test_an_unknown_column_and_a_missing_file_are_errors(folder: Path) -> None:
    with pytest.raises(InputError, match="unknown column 'img'; known are image"):
        list(source(folder, "a,b", head="img,mask").units())
    with pytest.raises(InputError, match="unknown key 'img'"):
        list(yaml_source(folder, "- {img: a}").units())
    with pytest.raises(InputError, match="cannot be read"):
        list(yaml_source(folder, "- {image: [").units())
    (folder / "map.csv").unlink(missing_ok=True)
    with pytest.raises(InputError, match="cannot be read"):
        list(MappedSource(MappedSettings(kind="mapped", path=folder, mapping=folder / "map.csv")).units())


def test_a_mask_that_is_named_twice_is_one_target(folder: Path) -> None:
    found = items(
        source(folder, "scans/a.jpg,drawn/a-labels.png,cyst,1,,,,,", "scans/a.jpg,drawn/a-labels.png,mass,1,,,,,")
    )
    assert [[t.name for t in p.targets] for p in pictures(found)] == [["cyst"]]
    assert reasons(found) == {"drawn/a-labels.png value 1": "map.csv line 3: the mapping names this mask twice"}
