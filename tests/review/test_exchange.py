"""To Label Studio and CVAT and back."""

from __future__ import annotations

import json
import re
from itertools import count
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from medreasoner_monai.data.review.applied import contents_of, digest_of
from medreasoner_monai.data.review.events import Heads, Judgement, picture_digest
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.schema import decode_image, decode_mask, encode_png
from medreasoner_monai.errors import InputError
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.exchange.annotation import picture_name
from medreasoner_monai.review.exchange.brush import decode_brush, encode_brush
from medreasoner_monai.review.exchange.export import export_to
from medreasoner_monai.review.exchange.importing import import_from
from medreasoner_monai.review.runs import from_runs, to_runs
from tests.review.served import dataset
from tests.samples import sample

SAVED = Path(__file__).with_name("saved")
MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=24))
_CLIENT = count()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReviewedData:
    return ReviewedData(dataset(tmp_path_factory.mktemp("exchange") / "dataset"))


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite", create=True)


@pytest.fixture
def drawn() -> np.ndarray:
    mask = np.zeros((40, 60), dtype=bool)
    mask[3:9, 7:30] = True
    mask[20, 50] = True
    return mask


def say(store: ReviewStore, data: ReviewedData, name: str, field: Any, verdict: Any, **more: Any) -> None:
    one = data.get(name)
    assert one is not None
    seen = digest_of(contents_of(one)[field])
    picture = picture_digest(one.image)
    store.add(Judgement("ann", name, picture, field, seen, verdict, str(next(_CLIENT)), **more))


def reviewed(store: ReviewStore, data: ReviewedData, drawn: np.ndarray) -> None:
    say(store, data, "s0", "question", "edit", value=b"Which part is bright, and why?")
    say(store, data, "s0", "mask", "edit", value=encode_png(drawn), comment="too small")
    say(store, data, "s0", "trace", "accept")
    say(store, data, "s1", "mask", "reject", comment="the spleen")
    say(store, data, "s3", "mask", "accept")


def facts(store: ReviewStore) -> dict[tuple[str, str, str], tuple[str, str, Any]]:
    """What is said, without when and by which act."""
    found = {}
    for name in Heads(store.events()).samples():
        for e in Heads(store.events()).of(name):
            value: Any = None
            if e.verdict == "edit":
                raw = store.value(e.seq)
                value = decode_mask(raw, "mask").tobytes() if e.field == "mask" else raw
            found[e.reviewer, name, e.field] = (e.verdict, e.comment, value)
    return found


@pytest.mark.parametrize(("format_", "file"), [("label-studio", "tasks.json"), ("cvat", "annotations.xml")])
def test_there_and_back(
    tmp_path: Path, data: ReviewedData, store: ReviewStore, drawn: np.ndarray, format_: Any, file: str
) -> None:
    reviewed(store, data, drawn)
    assert export_to(format_, data, store, tmp_path / "out") == 8
    for entry in data.entries:
        picture = (tmp_path / "out/images" / picture_name(entry.id)).read_bytes()
        one = data.get(entry.id)
        assert one is not None and (decode_image(picture, "picture") == one.image).all()
    again = ReviewStore(tmp_path / "again.sqlite", create=True)
    done = import_from(format_, tmp_path / "out" / file, data, again, "ann")
    assert done.refused == [] and (done.verdicts, done.samples) == (5, 3)
    assert facts(again) == facts(store)
    assert import_from(format_, tmp_path / "out" / file, data, again, "ann").verdicts == 0, "the same acts"


@given(MASKS)
def test_runs_and_brushes_hold_any_mask(mask: np.ndarray) -> None:
    shape = (mask.shape[0], mask.shape[1])
    assert (from_runs(to_runs(mask), shape) == mask).all()
    assert (decode_brush(encode_brush(mask), shape) == mask).all()


def test_a_brush_that_label_studio_encoded() -> None:
    saved = json.loads((SAVED / "label_studio_brush.json").read_text())
    rows, columns = np.mgrid[:40, :60]
    disc = (rows - 18) ** 2 + (columns - 25) ** 2 < 150
    disc[5, 50] = True
    assert (decode_brush(saved["rle"], (40, 60)) == disc).all()


@given(st.lists(st.integers(0, 255), max_size=40))
def test_a_damaged_brush_is_refused(rle: list[int]) -> None:
    with pytest.raises(InputError, match="brush"):
        decode_brush(rle, (40, 60))


def test_label_studios_own_way_of_saying_it(tmp_path: Path, data: ReviewedData, store: ReviewStore) -> None:
    """An export as Label Studio writes it: a user's number, regions, controls, a cancelled annotation."""
    saved = json.loads((SAVED / "label_studio_brush.json").read_text())
    region = {"original_width": 60, "original_height": 40, "image_rotation": 0, "to_name": "image"}
    brush = {"format": "rle", "rle": saved["rle"], "brushlabels": ["target"]}
    result = [
        {**region, "id": "x1", "from_name": "mask", "type": "brushlabels", "value": brush, "origin": "manual"},
        {
            "id": "x2",
            "from_name": "question-verdict",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": ["accept"]},
        },
    ]
    made = {"id": 9, "completed_by": 4, "result": result, "was_cancelled": False, "updated_at": "2026-03-09T22:16:08Z"}
    cancelled = {"id": 10, "completed_by": 4, "result": [], "was_cancelled": True}
    tasks = [
        {"id": 1, "data": {"image": "/data/upload/1/x.png", "sample": "s0"}, "annotations": [made, cancelled]},
        {"id": 2, "data": {"image": "/data/upload/1/y.png", "sample": "../s0"}, "annotations": [made]},
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    done = import_from("label-studio", tmp_path / "export.json", data, store)
    assert done.refused == ["task 2: the data set has no sample '../s0'"] and done.verdicts == 2
    mask, question = sorted(store.events(), key=lambda e: e.field)
    assert (mask.verdict, question.verdict) == ("edit", "accept")
    assert mask.reviewer == "label-studio 4" and mask.at == "2026-03-09T22:16:08Z" and mask.via == "label-studio"


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <image id="0" name="images/{name}" width="60" height="40">
    <mask label="target" source="semi-auto" occluded="0" rle="1, 2, 4, 1" left="10" top="20" width="4" height="2"
      z_order="0">
    </mask>
  </image>
</annotations>
"""


def test_cvats_runs_count_background_first_row_by_row(tmp_path: Path, data: ReviewedData, store: ReviewStore) -> None:
    (tmp_path / "a.xml").write_text(CVAT.format(name=picture_name("s0")))
    assert import_from("cvat", tmp_path / "a.xml", data, store, "ann").verdicts == 1
    (event,) = store.events()
    mask = decode_mask(store.value(event.seq), "mask")
    assert sorted(map(tuple, np.argwhere(mask).tolist())) == [(20, 11), (20, 12), (21, 13)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (CVAT.format(name="other.png"), "is of no sample"),
        (CVAT.format(name=picture_name("s0")).replace("1, 2, 4, 1", "1, 2"), "do not fill 2 x 4"),
        (CVAT.format(name=picture_name("s0")).replace('left="10"', 'left="57"'), "outside the picture"),
        (CVAT.format(name=picture_name("s0")).replace("1, 2, 4, 1", "a"), "malformed"),
    ],
)
def test_what_cannot_be_taken_is_said(
    tmp_path: Path, data: ReviewedData, store: ReviewStore, text: str, said: str
) -> None:
    (tmp_path / "a.xml").write_text(text)
    done = import_from("cvat", tmp_path / "a.xml", data, store, "ann")
    assert done.verdicts == 0 and len(done.refused) == 1 and re.search(said, done.refused[0])
    assert list(store.events()) == []


@pytest.mark.parametrize(
    ("format_", "text", "said"),
    [
        ("cvat", "<annotations><version>1.1</version>", "cannot be read as XML"),
        ("cvat", '<!DOCTYPE x [<!ENTITY a "b">]><annotations/>', "declares a document type"),
        ("cvat", "<annotation/>", "not of CVAT for images 1.1"),
        ("label-studio", "[", "cannot be read as JSON"),
        ("label-studio", '[{"image": "x"}]', "not Label Studio's JSON"),
    ],
)
def test_other_files_are_refused(
    tmp_path: Path, data: ReviewedData, store: ReviewStore, format_: Any, text: str, said: str
) -> None:
    (tmp_path / "file").write_text(text)
    with pytest.raises(InputError, match=said):
        import_from(format_, tmp_path / "file", data, store, "ann")


def test_the_interfaces_name_what_the_annotations_use(tmp_path: Path, data: ReviewedData, store: ReviewStore) -> None:
    say(store, data, "s0", "trace", "reject", comment="no")
    export_to("label-studio", data, store, tmp_path / "ls")
    config = ET.fromstring((tmp_path / "ls/label_config.xml").read_text())
    controls = {element.get("name"): element for element in config.iter() if element.get("toName")}
    kinds = {"brushlabels": "BrushLabels", "choices": "Choices", "textarea": "TextArea"}
    for task in json.loads((tmp_path / "ls/tasks.json").read_text()):
        for result in [r for a in (*task["predictions"], *task["annotations"]) for r in a["result"]]:
            control = controls[result["from_name"]]
            assert control.tag == kinds[result["type"]] and control.get("toName") == result["to_name"]
            options = [child.get("value") for child in control]
            assert set(result["value"].get("choices", [])) <= set(options)
    export_to("cvat", data, store, tmp_path / "cvat")
    labels = {one["name"]: one for one in json.loads((tmp_path / "cvat/labels.json").read_text())}
    root = ET.parse(tmp_path / "cvat/annotations.xml").getroot()
    for shape in [*root.iter("mask"), *root.iter("tag")]:
        label = labels[str(shape.get("label"))]
        assert label["type"] == shape.tag
        assert {a.get("name") for a in shape} <= {a["name"] for a in label["attributes"]}
    with pytest.raises(InputError, match="is not empty"):
        export_to("cvat", data, store, tmp_path / "cvat")


def test_a_picture_is_named_by_letters_and_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{24}\.png", picture_name("../../x/é"))
    assert picture_name("a") != picture_name("b") and sample(0).id == "s0"
