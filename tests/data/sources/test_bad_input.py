"""Bad files of all kinds in one curation: each is set aside with its reason, the run goes on and the count adds up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medreasoner_monai.data.assemble import REJECTS
from medreasoner_monai.data.curate_stage import curate_into
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.schema import SCHEMA, to_row, write_split
from medreasoner_monai.data.sources.folders import folder_sources
from medreasoner_monai.data.sources.parquet import ParquetSource
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import CleanSettings, DataSettings, QuestionSettings
from medreasoner_monai.settings.sources import (
    CocoSettings,
    FolderSettings,
    NiftiSettings,
    ParquetSettings,
)
from tests.data.sources.bombs import bomb
from tests.data.sources.volumes import write_nifti
from tests.samples import sample


def picture(path: Path, number: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 255, (48, 64), dtype=np.uint8)).save(path)
    return path


def mask(path: Path, left: int = 5) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.zeros((48, 64), np.uint8)
    marked[10:30, left : left + 20] = 255
    Image.fromarray(marked).save(path)
    return path


@pytest.mark.parametrize("column", ["prompt", "images", "masks", "reward_model"])
def test_a_parquet_file_without_a_column_is_set_aside_row_by_row_with_its_name(column: str, tmp_path: Path) -> None:
    write_split(tmp_path / "test.parquet", [sample(0), sample(1)])
    pq.write_table(pq.read_table(tmp_path / "test.parquet").drop_columns([column]), tmp_path / "train.parquet")
    given = ParquetSource(
        ParquetSettings(kind="parquet", train=tmp_path / "train.parquet", test=tmp_path / "test.parquet")
    )
    found = [item for unit in given.units() for item in given.read(unit)]
    bad = [item for item in found if isinstance(item, Reject)]
    assert len(found) == 4 and [(r.where, r.masks) for r in bad] == [(f"train.parquet row {n}", 1) for n in (0, 1)]
    assert all(f"not a U-MRG row (it has no '{column}')" in r.reason for r in bad)


def test_a_picture_that_would_fill_the_memory_takes_its_masks_with_it(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a_CT_abdomen.png").write_bytes(bomb())
    mask(tmp_path / "masks" / "a_CT_abdomen_liver.png")
    (given,) = folder_sources(FolderSettings(kind="folder", path=tmp_path))
    (reject,) = [item for unit in given.units() for item in given.read(unit)]
    assert isinstance(reject, Reject) and reject.masks == 1 and "exceeds limit" in reject.reason
    row = to_row(sample(0))
    row["masks"] = [{"bytes": bomb(), "path": None}]
    pq.write_table(pa.Table.from_pylist([row], SCHEMA), tmp_path / "train.parquet")
    write_split(tmp_path / "test.parquet", [sample(1)])
    rows = ParquetSource(
        ParquetSettings(kind="parquet", train=tmp_path / "train.parquet", test=tmp_path / "test.parquet")
    )
    (bad,) = rows.read(next(iter(rows.units())))
    assert isinstance(bad, Reject) and "mask: not a readable image" in bad.reason and bad.masks == 1


def test_a_run_over_bad_files_of_every_kind_goes_on_and_loses_no_mask(tmp_path: Path) -> None:
    pngs = tmp_path / "pngs"  # 10 pictures with a mask each, one mask truncated, one image a bomb
    for n in range(10):
        picture(pngs / "images" / f"p{n}_CT_abdomen.png", n)
        mask(pngs / "masks" / f"p{n}_CT_abdomen_liver.png", 2 + 4 * n)
    cut = pngs / "masks" / "p0_CT_abdomen_liver.png"
    cut.write_bytes(cut.read_bytes()[:60])
    (pngs / "images" / "p1_CT_abdomen.png").write_bytes(bomb())

    volumes = tmp_path / "volumes"  # a good one; labels of four axes, without a name, elsewhere; no orientation
    made = np.random.default_rng(0).integers(-100, 200, (32, 32, 3)).astype(np.int16)
    labels = np.zeros((32, 32, 3), np.uint8)
    labels[8:20, 8:20, 1] = 1
    for n, (marks, affine, code) in enumerate(
        [
            (labels, np.eye(4), 1),
            (np.stack([labels, labels], axis=3), np.eye(4), 1),
            (labels * 9, np.eye(4), 1),
            (labels, np.diag([2.0, 1, 1, 1]), 1),
            (labels, np.eye(4), 0),
        ]
    ):
        write_nifti(volumes / "images" / f"v{n}.nii.gz", made + n, code=code)
        write_nifti(volumes / "labels" / f"v{n}.nii.gz", marks, affine)

    coco = tmp_path / "coco"  # a polygon; a crowd, an open polygon, and an image that lies elsewhere
    picture(coco / "a.png", 99)
    square, crowd = [[5, 5, 30, 5, 30, 30, 5, 30]], {"size": [48, 64], "counts": [100, 900, 2072]}
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "../pngs/images/p2_CT_abdomen.png"}]
    marked = [(1, 0, square), (1, 1, crowd), (1, 0, [[1, 1, 9, 9]]), (2, 0, square)]
    text = {
        "images": [{**image, "height": 48, "width": 64} for image in images],
        "categories": [{"id": 1, "name": "spleen"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": 1, "iscrowd": crowded, "segmentation": shape}
            for n, (image, crowded, shape) in enumerate(marked)
        ],
    }
    (coco / "coco.json").write_text(json.dumps(text))

    write_split(tmp_path / "train.parquet", [sample(n) for n in (0, 1, 2, 0)])  # an id twice
    write_split(tmp_path / "test.parquet", [sample(7)])
    draft = Draft(tmp_path / "d.partial", tmp_path / "d.scratch")
    data = DataSettings(
        sources=(
            FolderSettings(kind="folder", path=pngs),
            NiftiSettings(kind="nifti", path=volumes, labels={1: "kidney"}, modality="CT"),
            CocoSettings(kind="coco", annotations=coco / "coco.json", modality="CT"),
            ParquetSettings(kind="parquet", train=tmp_path / "train.parquet", test=tmp_path / "test.parquet"),
        ),
        clean=CleanSettings(min_contrast=None),
        questions=QuestionSettings(writer="name"),
    )
    curate_into(draft, data, NoProgress())
    assert draft.facts["masks"] == {"in": 10 + 5 + 4 + 5, "kept": 8 + 1 + 1 + 4, "rejected": 2 + 4 + 3 + 1}
    said = {row["where"]: row["reason"] for row in pq.read_table(draft.path / REJECTS).to_pylist()}
    for where, part in {
        "p0_CT_abdomen_liver.png": "not a readable picture",
        "p1_CT_abdomen.png": "exceeds limit",
        "labels/v1.nii.gz": "three axes",
        "labels/v2.nii.gz label 9": "has no name",
        "labels/v3.nii.gz": "lies elsewhere than its image",
        "images/v4.nii.gz": "does not say how it lies",
        "a.png annotation 1 (no. 2)": "crowd",
        "a.png annotation 2 (no. 3)": "at least three x, y pairs",
        "../pngs/images/p2_CT_abdomen.png": "leads out of the folder",
        "train.parquet row 3": "has this id",
    }.items():
        assert part in said[where], said
