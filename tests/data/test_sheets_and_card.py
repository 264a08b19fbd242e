"""The census, the contact sheets and the card of a data set: counts by hand, nothing that says who a patient is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from medreasoner_monai.data.card import write_card
from medreasoner_monai.data.census import take
from medreasoner_monai.data.draw import Draw
from medreasoner_monai.data.sample import SourceRef, image_group
from medreasoner_monai.data.schema import SCHEMA, to_row, write_split
from medreasoner_monai.data.shards import REJECT_SCHEMA
from medreasoner_monai.data.sheets import PER_PAGE
from medreasoner_monai.data.thumbnails import outlined, thumbnail
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest
from tests.samples import absent_sample, sample

CT = SourceRef("ct", "images/DOE_JANE.png", "CC BY 4.0")
XRAY = SourceRef("x<ray>|&", "images/1.png")
PATIENT = "DOE^JANE"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """30 CT samples of 2 patients in train, 3 of X-rays without a patient; 1 absent; 4 rejects of two reasons."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    ct = [sample(n, id=f"{PATIENT}-{n}", group=f"ct/{PATIENT}{n % 2}", origin=CT) for n in range(30)]
    xray = [sample(n, origin=XRAY, modality="X-Ray", category="gizmo", trace="") for n in range(40, 43)]
    write_split(folder / "train.parquet", [*ct, *(replace(s, group=image_group(s.image)) for s in xray)])
    write_split(folder / "val.parquet", [])
    write_split(
        folder / "test.parquet", [sample(50, origin=CT, group="ct/z"), absent_sample(51, origin=CT, group="ct/z")]
    )
    shown = thumbnail(sample(1).image, sample(1).mask)
    tiny = {"reason": "spleen: the mask has 3 pixels", "step": "clean", "masks": 1, "source": "ct", "code": "tiny"}
    unread = {"reason": f"{PATIENT}.png is not a readable picture (x)", "step": "read", "masks": 2, "source": "ct"}
    rows = [*({**tiny, "where": f"{PATIENT}_{n}.png", "thumbnail": shown} for n in range(3)), {**unread, "where": "w"}]
    pq.write_table(pa.Table.from_pylist(rows, REJECT_SCHEMA), folder / "rejects.parquet")
    return folder


FACTS = {
    "masks": {"in": 38, "kept": 33, "rejected": 5},
    "sources": [{"name": "ct", "kind": "folder", "description": "Slices.", "synthetic": False}],
}


def test_counts_are_those_of_the_rows(dataset: Path) -> None:
    card = write_card(dataset, FACTS)
    train, test = card["splits"]["train"], card["splits"]["test"]
    assert (train["samples"], train["patients"], train["pictures_of_unknown_patients"]) == (33, 2, 3)
    assert (test["samples"], test["absent"], test["patients"]) == (2, 1, 1)
    assert card["absent"] == {"removed": 1}
    assert card["categories"][-1] == {"name": "gizmo", "samples": 3, "train": 3, "val": 0, "test": 0}
    assert card["rejects"] == [
        {"reason": "tiny", "rejects": 3, "masks": 3, "sources": 1},
        {"reason": "… is not a readable picture …", "rejects": 1, "masks": 2, "sources": 1},
    ]
    assert card["unknown_targets"] == {"gizmo": 3}
    assert json.loads((dataset / "card.json").read_text()) == card


def test_gaps_are_said_in_words(dataset: Path) -> None:
    gaps = "\n".join(write_card(dataset, FACTS)["gaps"])
    assert "Patients are unknown in x<ray>|&" in gaps and "The licence of x<ray>|& is not stated" in gaps
    assert "Trained on and never tested: gizmo." in gaps and "There is no validation split" in gaps
    assert "The taxonomy does not know gizmo" in gaps and "5 of about 37 masks were set aside" in gaps
    assert "licence of ct" not in gaps and "No question asks" not in gaps


def test_nothing_says_who_the_patient_is(dataset: Path) -> None:
    write_card(dataset, FACTS)
    for path in (*dataset.glob("card.*"), *dataset.glob("sheets/*")):
        assert b"DOE" not in path.read_bytes() and "DOE" not in path.name
    for path in dataset.glob("sheets/*.png"):
        with Image.open(path) as page:
            assert set(page.info) <= {"transparency"}


def test_the_firewalls_findings_are_on_the_card(dataset: Path) -> None:
    write_card(dataset, FACTS)
    assert "Between the splits" not in (dataset / "card.html").read_text()
    for found, words in ((0, "Nothing was found on both sides"), (2, "accepted in the config: 2 near-duplicate")):
        write_card(dataset, FACTS | {"leaks": {"patient": 0, "near-duplicate": found}})
        assert words in (dataset / "card.html").read_text() and words in (dataset / "card.md").read_text()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs)["src"] or "")
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_well_formed_escapes_names_and_shows_the_sheets(dataset: Path) -> None:
    write_card(dataset, FACTS)
    text = (dataset / "card.html").read_text()
    page = _Page()
    page.feed(text.removeprefix("<!doctype html>"))
    assert page.open == [] and "<ray>" not in text and "x&lt;ray&gt;|&amp;" in text
    assert sorted(page.images) == sorted(f"sheets/{p.name}" for p in dataset.glob("sheets/*.png")) and page.images
    assert "Research use only" in text


def test_tables_in_markdown_have_as_many_cells_as_heads(dataset: Path) -> None:
    write_card(dataset, FACTS)
    tables = re.findall(r"(?:^\|.*\n)+", (dataset / "card.md").read_text(), re.MULTILINE)
    assert len(tables) == 5
    for table in tables:
        lines = table.strip().split("\n")
        assert len(lines) > 2 and len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, table


def test_sheets_are_bounded_and_the_same_each_time(dataset: Path) -> None:
    write_card(dataset, FACTS)
    before = {path.name: file_digest(path) for path in dataset.rglob("*") if path.is_file()}
    (dataset / "sheets" / "kept-009-left-by-a-killed-attempt-1.png").write_bytes(b"half")
    card = write_card(dataset, FACTS)
    assert {path.name: file_digest(path) for path in dataset.rglob("*") if path.is_file()} == before
    sheets = {(s["source"], s["kind"]): (s["shown"], s["of"]) for x in card["sources"] for s in x["sheets"]}
    assert sheets == {
        ("ct", "kept"): (PER_PAGE, 32),
        ("ct", "rejected"): (3, 4),
        ("x<ray>|&", "kept"): (3, 3),
    }


def test_a_parquet_file_alone_has_a_card_too(tmp_path: Path) -> None:
    write_split(tmp_path / "given.parquet", [sample(n) for n in range(3)])
    card = write_card(tmp_path / "given.parquet", {}, tmp_path / "out")
    assert card["splits"]["given"]["samples"] == 3 and card["sources"][0]["name"] == "not stated"
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"card.html", "card.md", "card.json", "sheets"}


def test_what_is_no_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not a data set: expected a U-MRG Parquet file, or a folder with train"):
        take(tmp_path)
    (tmp_path / "text.parquet").write_text("hello")
    with pytest.raises(InputError, match="is not a Parquet file"):
        take(tmp_path / "text.parquet")
    row = to_row(sample(0))
    del row["reward_model"]
    schema = pa.schema([f for f in SCHEMA if f.name != "reward_model"])
    pq.write_table(pa.Table.from_pylist([row], schema), tmp_path / "short.parquet")
    with pytest.raises(InputError, match="the column reward_model is missing"):
        take(tmp_path / "short.parquet")


@given(st.lists(st.text(max_size=4), unique=True, max_size=20), st.integers(0, 10))
def test_a_draw_depends_on_the_names_alone(names: list[str], size: int) -> None:
    first, second = Draw[str](size), Draw[str](size)
    for name in names:
        first.show(name, name)
    for name in sorted(names):
        second.show(name, name)
    assert list(first) == list(second) and len(first) == min(size, len(names))


def test_a_thin_target_in_a_large_picture_is_still_outlined() -> None:
    image = np.zeros((2000, 1500), dtype=np.uint8)
    mask = np.zeros_like(image, dtype=bool)
    mask[1000, 700:760] = True
    drawn = np.asarray(outlined(image, mask))
    assert drawn.shape == (128, 96, 3)
    rows, cols = np.nonzero(drawn.max(axis=2) > 100)
    assert rows.size and abs(rows.mean() - 1000 * 128 / 2000) < 3 and abs(cols.mean() - 730 * 96 / 1500) < 3
