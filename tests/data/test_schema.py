"""The U-MRG schema: written and read back, and each mistake in a row named by its sample."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from medreasoner_monai.data.sample import is_image_group
from medreasoner_monai.data.schema import (
    SCHEMA,
    SampleError,
    decode_image,
    encode_png,
    from_row,
    read_rows,
    read_split,
    to_row,
    write_split,
)
from medreasoner_monai.errors import InputError
from tests.samples import absent_sample, sample

FRAME_AREA = (40, 60)


def row(**changes: Any) -> dict[str, Any]:
    return {**to_row(sample(1)), **changes}


def truth(box: object, points: object = ((5, 5), (9, 9))) -> dict[str, str]:
    return {"ground_truth": json.dumps({"bbox_2d": box, "point_2d": points})}


def pictures(array: np.ndarray) -> list[dict[str, Any]]:
    return [{"bytes": encode_png(array), "path": None}]


def test_samples_come_back_from_parquet_as_they_were(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    samples = [sample(0), sample(1, image=colour), sample(2, trace="", modality="")]
    assert write_split(tmp_path / "train.parquet", samples) == 3
    back = list(read_split(tmp_path / "train.parquet"))
    for before, after in zip(samples, back, strict=True):
        assert np.array_equal(before.image, after.image) and np.array_equal(before.mask, after.mask)
        names = ("id", "question", "box", "category", "supercategory", "modality", "group", "trace")
        assert [getattr(before, n) for n in names] == [getattr(after, n) for n in names]
        # Stored in whole pixels, as in the released data.
        assert np.abs(np.array(before.points.xy) - np.array(after.points.xy)).max() <= 0.5


def test_columns_are_those_of_the_released_files(tmp_path: Path) -> None:
    write_split(tmp_path / "x.parquet", [sample(0)])
    table = pq.read_table(tmp_path / "x.parquet")
    assert table.schema.equals(SCHEMA)
    first = table.to_pylist()[0]
    assert first["data_source"] == "umrg" and first["prompt"][0]["role"] == "user"
    assert set(json.loads(first["reward_model"]["ground_truth"])) == {"bbox_2d", "point_2d"}


def test_mask_of_another_size_is_refused_by_its_sample() -> None:
    with pytest.raises(SampleError, match="a.parquet row 3, sample s1: the mask is 50 x 40 but its image 60 x 40"):
        from_row(row(masks=pictures(np.ones((40, 50), dtype=bool))), "a.parquet row 3")


@pytest.mark.parametrize("high", [1, 7, 255])
def test_any_value_above_zero_is_foreground(high: int) -> None:
    mask = sample(1).mask
    assert np.array_equal(from_row(row(masks=pictures(mask.astype(np.uint8) * high)), "r").mask, mask)


def test_mask_in_colour_is_foreground_where_any_channel_is() -> None:
    mask = np.zeros((40, 60, 3), dtype=np.uint8)
    mask[4:9, 5:9, 2] = 1
    assert from_row(row(masks=pictures(mask)), "r").mask.sum() == 20


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"masks": pictures(np.zeros(FRAME_AREA, dtype=bool))}, "the mask is empty but the ground truth has a box"),
        ({"reward_model": truth(None, None)}, "no target but the mask marks 384 pixels"),
        ({"reward_model": truth(None)}, "box or points malformed"),
        ({"reward_model": truth([1, 2, 30, 30], None)}, "box or points malformed"),
        ({"extra_info": {"id": "s1", "absent": "removed"}}, "the target is absent .'removed'. but the row has a box"),
        ({"prompt": [{"role": "user", "content": " \n"}]}, "the question is empty"),
        ({"prompt": [{"role": "user", "content": "<image>"}]}, "the question is empty"),
        ({"prompt": [{"role": "user", "content": "Which <|im_end|> part?"}]}, "the question holds .*im_end"),
        ({"extra_info": {"id": "s1", "trace": "It is <|im_end|>dark."}}, "the trace holds .*im_end"),
        ({"prompt": []}, "not a U-MRG row"),
        ({"images": []}, "not a U-MRG row"),
        ({"images": [{"bytes": b"no png", "path": None}]}, "image: not a readable image"),
        (
            {"masks": [{"bytes": encode_png(np.ones(FRAME_AREA, bool))[:60], "path": None}]},
            "mask: not a readable image",
        ),
        ({"images": [{"bytes": None, "path": "a.png"}]}, "sample s1"),
        ({"reward_model": None}, "not a U-MRG row"),
        ({"reward_model": {"ground_truth": "{"}}, "not a U-MRG row"),
        ({"reward_model": {"ground_truth": "[]"}}, "not a U-MRG row"),
        ({"reward_model": truth([1, 2, 3])}, "box or points malformed"),
        ({"reward_model": truth([30, 5, 10, 9])}, "box or points malformed"),
        ({"reward_model": truth([1, 2, 30, 30], [[1, 2]])}, "box or points malformed"),
        ({"reward_model": truth([1, 2, 61, 30])}, "lie outside the image of 60 x 40"),
        ({"reward_model": truth([1, 2, 30, 30], [[1, 2], [3, 41]])}, "lie outside the image of 60 x 40"),
    ],
)
def test_bad_row_is_refused_with_its_name_and_the_reason(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SampleError, match=said) as caught:
        from_row(row(**changes), "a.parquet row 3")
    assert str(caught.value).startswith("a.parquet row 3, sample s1")


def test_sample_without_its_target_comes_back_as_it_was(tmp_path: Path) -> None:
    write_split(tmp_path / "train.parquet", [absent_sample(3), sample(4)])
    absent, present = read_split(tmp_path / "train.parquet")
    assert (absent.present, absent.box, absent.points, absent.absent) == (False, None, None, "removed")
    assert not absent.mask.any() and (absent.frame.width, absent.frame.height) == (60, 40)
    assert present.present and present.absent == ""
    stored = pq.read_table(tmp_path / "train.parquet").to_pylist()[0]
    assert json.loads(stored["reward_model"]["ground_truth"]) == {"bbox_2d": None, "point_2d": None}


def test_absent_target_needs_no_kind() -> None:
    empty = {"masks": pictures(np.zeros(FRAME_AREA, dtype=bool)), "reward_model": truth(None, None)}
    read = from_row(row(**empty), "r")
    assert not read.present and read.absent == ""


@pytest.mark.parametrize("changes", [{"box": None}, {"points": None}, {"mask": np.zeros(FRAME_AREA, bool)}])
def test_sample_agrees_with_itself_on_whether_there_is_a_target(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="sample s1: mask, box and points"):
        sample(1, **changes)


def test_row_without_an_id_is_named_by_its_place() -> None:
    assert from_row(row(extra_info=None), "a.parquet row 3").id == "a.parquet row 3"


def test_columns_of_ours_may_be_absent() -> None:
    read = from_row(row(extra_info={"id": "x", "category": "liver", "supercategory": "Abdomen"}), "r")
    assert (read.modality, read.trace) == ("", "")
    assert is_image_group(read.group), "equal pictures stay together where nobody says whose they are"


def test_image_with_alpha_becomes_rgb() -> None:
    assert decode_image(encode_png(np.zeros((4, 5, 4), dtype=np.uint8)), "x").shape == (4, 5, 3)


def test_pictures_of_16_bits_are_scaled_and_masks_of_16_bits_are_not() -> None:
    def deep(pixels: np.ndarray) -> list[dict[str, Any]]:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        return [{"bytes": buffer.getvalue(), "path": None}]

    image = (np.arange(40 * 60).reshape(40, 60) * 4095 // 2399).astype(np.uint16)
    mask = np.zeros((40, 60), dtype=np.uint16)
    mask[4:9, 5:9], mask[20:24, 5:9] = 1, 60000
    read = from_row(row(images=deep(image), masks=deep(mask)), "r")
    assert np.array_equal(read.image, np.rint(image * (255 / 4095)).astype(np.uint8))
    assert np.array_equal(read.mask, mask > 0)


def test_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a.parquet does not exist"):
        next(read_rows(tmp_path / "a.parquet"))
    (tmp_path / "b.parquet").write_text("id,question\n")
    with pytest.raises(InputError, match="b.parquet is not a Parquet file"):
        next(read_rows(tmp_path / "b.parquet"))


def test_rows_are_counted_over_batches(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": list(range(5))}), tmp_path / "n.parquet")
    assert [(w, r["n"]) for w, r in read_rows(tmp_path / "n.parquet", batch=2)] == [
        (f"n.parquet row {n}", n) for n in range(5)
    ]


def test_write_that_fails_leaves_no_split(tmp_path: Path) -> None:
    def samples() -> Any:
        yield sample(0)
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError, match="no space"):
        write_split(tmp_path / "train.parquet", samples())
    assert not (tmp_path / "train.parquet").exists()
