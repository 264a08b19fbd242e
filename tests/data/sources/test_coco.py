"""COCO's annotations: polygons and run lengths are drawn, groups and several of one kind as the config says."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as coco_mask

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.coco import CocoSource, draw
from medreasoner_monai.errors import InputError
from medreasoner_monai.settings.sources import CocoSettings
from tests.data.sources.volumes import items, pictures, reasons

SQUARE = [[1, 1, 4, 1, 4, 3, 1, 3]]
FILE: dict[str, Any] = {
    "licenses": [{"id": 4, "name": "CC BY 4.0"}],
    "categories": [{"id": 1, "name": "Lung_Nodule"}, {"id": 2, "name": "heart"}],
    "images": [{"id": 10, "file_name": "p/x.png", "height": 6, "width": 8, "license": 4, "patient": "P1"}],
    "annotations": [{"id": 1, "image_id": 10, "category_id": 1, "iscrowd": 0, "segmentation": SQUARE}],
}


def source(folder: Path, change: Any = None, **more: object) -> CocoSource:
    data = copy.deepcopy(FILE)
    if change:
        change(data)
    (folder / "p").mkdir(exist_ok=True)
    Image.fromarray(np.full((6, 8), 90, dtype=np.uint8)).save(folder / "p" / "x.png")
    (folder / "a.json").write_text(json.dumps(data))
    return CocoSource(CocoSettings(kind="coco", annotations=folder / "a.json", **more))  # type: ignore[arg-type]


def annotation(**values: object) -> dict[str, object]:
    return {
        "id": 2,
        "image_id": 10,
        "category_id": 1,
        "iscrowd": 0,
        "segmentation": [[5, 3, 7, 3, 7, 6, 5, 6]],
        **values,
    }


def test_a_polygon_is_a_target_of_its_category(tmp_path: Path) -> None:
    given = source(tmp_path, patient_key="patient", modality="CT", site="chest", name="set")
    (picture,) = pictures(items(given))
    (target,) = picture.targets
    expected = np.zeros((6, 8), dtype=bool)
    expected[1:3, 1:4] = True
    assert target.name == "lung nodule" and np.array_equal(target.mask, expected)
    assert (picture.id, picture.group, picture.modality) == ("p/x", "set/P1", "CT")
    assert picture.origin.licence == "CC BY 4.0" and picture.origin.file == "p/x.png"


@settings(max_examples=30)
@given(arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))))
def test_run_lengths_give_back_the_mask(mask: np.ndarray) -> None:
    """By the format's definition: pixels column by column, runs of 0 and 1 in turn, the first of 0."""
    flat = mask.ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    counts = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    rows, cols = mask.shape
    assert np.array_equal(draw({"size": [rows, cols], "counts": counts}, rows, cols), mask)
    compressed = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(draw({"size": [rows, cols], "counts": compressed}, rows, cols), mask)


def test_several_of_one_category_are_merged_or_apart_or_refused(tmp_path: Path) -> None:
    def two(data: Any) -> None:
        data["annotations"] += [annotation(), annotation(id=3, category_id=2)]

    (merged,) = pictures(items(source(tmp_path, two)))
    assert {t.name: int(t.mask.sum()) for t in merged.targets} == {"lung nodule": 6 + 6, "heart": 6}
    assert merged.targets[0].where == "p/x.png annotation 1 (no. 1) and 1 more"
    first, second = pictures(items(source(tmp_path, two, several="apart")))
    assert [t.name for t in first.targets] == ["lung nodule", "heart"]
    assert (second.id, [int(t.mask.sum()) for t in second.targets], second.group) == ("p/x-2", [6], first.group)
    refused = items(source(tmp_path, two, several="reject"))
    assert [t.name for p in pictures(refused) for t in p.targets] == ["heart"]
    assert set(reasons(refused).values()) == {"one of 2 annotations of 'lung nodule' in this picture (several: reject)"}


def test_a_crowd_is_refused_or_kept(tmp_path: Path) -> None:
    def crowd(data: Any) -> None:
        data["annotations"] = [annotation(iscrowd=1, segmentation={"size": [6, 8], "counts": [6, 4, 38]})]

    assert "iscrowd" in reasons(items(source(tmp_path, crowd)))["p/x.png annotation 2 (no. 1)"]
    (picture,) = pictures(items(source(tmp_path, crowd, crowd="keep")))
    assert picture.targets[0].mask[:, 1].tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"segmentation": []}, "at least three x, y pairs"),
        ({"segmentation": [[1, 1, 2, 2]]}, "at least three x, y pairs"),
        ({"segmentation": [[1, 1, 2, 2, 3]]}, "at least three x, y pairs"),
        ({"segmentation": [[1, 1, 2, "x", 3, 3]]}, "at least three x, y pairs"),
        ({"segmentation": None}, "a box alone"),
        ({"segmentation": {"size": [8, 6], "counts": [48]}}, "of the size [8, 6]"),
        ({"segmentation": {"size": [6, 8], "counts": [40]}}, "do not add up to 48"),
        ({"segmentation": {"size": [6, 8], "counts": [-8, 56]}}, "do not add up to 48"),
        ({"segmentation": {"size": [6, 8], "counts": "~~~~zz"}}, "cannot be decoded"),
        ({"segmentation": {"size": [6, 8], "counts": None}}, "neither numbers nor a text"),
        ({"segmentation": {"size": [6, 8], "counts": [48]}}, "the mask is empty"),
        ({"segmentation": [[20, 20, 30, 20, 30, 30]]}, "the mask is empty"),
        ({"category_id": 7}, "its category 7 is not in the file's list"),
        ({"image_id": 99}, "its image 99 is not listed"),
    ],
)
def test_an_annotation_that_cannot_be_used_is_set_aside(values: dict[str, object], said: str, tmp_path: Path) -> None:
    found = items(source(tmp_path, lambda data: data["annotations"].append(annotation(**values))))
    (reject,) = [i for i in found if isinstance(i, Reject)]
    assert said in reject.reason and reject.masks == 1
    assert [len(p.targets) for p in pictures(found)] == [1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["images"][0].update(file_name="../x.png"), "leads out of the folder"),
        (lambda d: d["images"][0].update(file_name="p/none.png"), "none.png is not there"),
        (lambda d: d["images"][0].update(height=60), "has 6 rows and 8 columns, the file says (60, 8)"),
        (lambda d: d["images"].append(d["images"][0] | {"file_name": "y.png"}), "listed twice"),
        (lambda d: d["images"].append(d["images"][0] | {"id": 11}), "listed twice"),
    ],
)
def test_an_image_that_cannot_be_used_takes_its_masks_with_it(change: Any, said: str, tmp_path: Path) -> None:
    found = items(source(tmp_path, change))
    assert not pictures(found) and any(said in reason for reason in reasons(found).values())
    assert sum(i.masks for i in found if isinstance(i, Reject)) == 1


def test_images_without_annotations_show_nothing_only_where_the_file_is_complete(tmp_path: Path) -> None:
    def none(data: Any) -> None:
        data["annotations"] = []

    (picture,) = pictures(items(source(tmp_path, none, complete=True)))
    assert picture.labelled == {"lung nodule", "heart"} and not picture.targets
    assert not pictures(items(source(tmp_path, none)))


def test_a_source_is_sent_without_its_annotations(tmp_path: Path) -> None:
    given = source(tmp_path, lambda d: d["annotations"].extend(annotation(id=n) for n in range(2, 500)))
    (unit,) = given.units()
    sent = pickle.dumps(given)
    assert len(sent) < 5_000
    assert [p.id for p in pictures(pickle.loads(sent).read(unit))] == ["p/x"]


@pytest.mark.parametrize("text", ["[]", "{}", "{", '{"images": 3, "categories": []}'])
def test_a_file_that_is_not_cocos_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="is not a COCO file"):
        list(CocoSource(CocoSettings(kind="coco", annotations=tmp_path / "a.json")).units())


def test_annotations_of_one_id_are_told_apart(tmp_path: Path) -> None:
    def same(data: Any) -> None:
        data["annotations"].append(annotation(id=1, category_id=2))

    (picture,) = pictures(items(source(tmp_path, same)))
    assert len({t.where for t in picture.targets}) == 2
