"""What data outlines, by name, and what of it the taxonomy does not know: reported, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medreasoner_monai.data.schema import SCHEMA, to_row
from medreasoner_monai.data.targets import NamedTarget, targets_in, unknown_targets
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.taxonomy import many_parts, modality_of, resolve, site_of
from tests.samples import sample

REAL = Path(__file__).parents[3] / "shared" / "data"


def mask(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((2, 2), 255, dtype=np.uint8)).save(path)


def test_names_are_read_off_masks(tmp_path: Path) -> None:
    for name in ("a_CT_abdomen_liver", "b_CT_abdomen_liver", "a_CT_abdomen_left+kidney", "plain"):
        mask(tmp_path / "set" / "masks" / f"{name}.png")
    expected = [NamedTarget("left kidney", "set", "abdomen", 1), NamedTarget("liver", "set", "abdomen", 2)]
    assert targets_in(tmp_path / "set") == expected == targets_in(tmp_path)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"labels": {"0": "background", "1": "Edema", "2": "tumor core"}}, ["edema", "tumor core"]),
        ({"labels": {"background": 0, "kidney": 1, "ignore": 2}}, ["kidney"]),
        ({"categories": [{"id": 1, "name": "polyp"}], "images": []}, ["polyp"]),
    ],
)
def test_names_are_read_off_lists_of_labels(tmp_path: Path, content: dict[str, object], names: list[str]) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    (tmp_path / "broken.json").write_text("{")
    assert [t.name for t in targets_in(tmp_path)] == names


def test_a_folder_without_names_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no targets"):
        targets_in(tmp_path)
    with pytest.raises(InputError, match="is not a folder"):
        targets_in(tmp_path / "nowhere")


def test_unknown_categories_of_a_data_set_are_counted(tmp_path: Path) -> None:
    for split, names in (("train", ["liver", "plica", "plica", "blob", "left kidney"]), ("test", ["plica"])):
        rows = [to_row(replace(sample(n), category=name)) for n, name in enumerate(names)]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), tmp_path / f"{split}.parquet")
    assert unknown_targets(tmp_path) == {"plica": 3, "blob": 1}


@pytest.mark.skipif(not (REAL / "real_sets").is_dir(), reason="the real sets are not beside the project")
def test_every_target_of_the_real_sets_is_known_and_seen_where_the_taxonomy_says() -> None:
    """Names come from the files; modality and place of each concept are held against the files' own."""
    found = targets_in(REAL / "real_sets") + targets_in(REAL / "biomedparse_demo")
    assert len(found) > 150
    for folder in [*(REAL / "real_sets").iterdir(), REAL / "biomedparse_demo"]:
        for path in (folder / "masks").glob("*.png"):
            _, modality, site, name = path.stem.rsplit("_", 3)
            concept = resolve(name, folder.name, site)
            assert concept is not None, path.name
            assert not concept.modalities or modality_of(modality) in concept.modalities, path.name
            assert not concept.sites or site_of(site) in concept.sites, path.name


@pytest.mark.skipif(not (REAL / "real_sets").is_dir(), reason="the real sets are not beside the project")
def test_the_names_that_the_sets_list_are_known() -> None:
    for about in (REAL / "real_sets").glob("*/SOURCE.json"):
        content = json.loads(about.read_text())
        for name in content["counts"]["masks_by_target"]:
            assert resolve(name) is not None, f"{name} of {about.parent.name}"


def test_targets_of_many_parts_are_told_apart() -> None:
    assert many_parts("vessel", site="retinal") and many_parts("teeth") and not many_parts("liver tumor")
    assert not many_parts("unheard of")
