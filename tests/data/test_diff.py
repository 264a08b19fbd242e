"""Differences of two data sets, made one at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medreasoner_monai.data.diff import Difference, compare
from medreasoner_monai.data.diff_index import rows
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import SCHEMA, encode_png, read_rows, to_row, write_split
from medreasoner_monai.errors import InputError
from tests.samples import sample

TRAIN = [sample(n) for n in range(6)]
TEST = [sample(n) for n in range(10, 14)]


def write(folder: Path, train: list[Sample], test: list[Sample]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, samples in (("train", train), ("val", []), ("test", test)):
        write_split(folder / f"{name}.parquet", samples)
    return folder


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / "a", TRAIN, TEST)


def changed(first: Path, *, train: list[Sample] = TRAIN, test: list[Sample] = TEST) -> Difference:
    return compare(first, write(first.parent / "b", train, test))


def with_(samples: list[Sample], number: int, **changes: Any) -> list[Sample]:
    return [replace(s, **changes) if n == number else s for n, s in enumerate(samples)]


def test_a_data_set_is_the_same_as_itself_in_another_order(first: Path) -> None:
    found = changed(first, train=TRAIN[::-1])
    assert found.same and not found.facts()["changes"] and "are the same" in found.gate[0]


def test_added_and_removed_samples_are_counted_by_category(first: Path) -> None:
    found = changed(first, train=[*TRAIN[2:], sample(20), sample(22)])
    assert found.counts == {"added": 2, "removed": 2} and found.samples == (10, 10)
    assert found.categories == {"spleen": {"added": 2, "removed": 1}, "liver": {"removed": 1}}
    assert [c.id for c in found.examples["removed"]] == ["s0", "s1"]
    assert not found.test and "unchanged" in found.gate[0]


def test_a_changed_mask_has_its_dice(first: Path) -> None:
    mask = np.roll(TEST[1].mask, 12, axis=1)  # half of its 24 columns
    found = changed(first, test=with_(TEST, 1, mask=mask))
    assert found.counts == {"mask": 1}
    assert found.dice == {"masks": 1, "mean": 0.5, "least": 0.5, "under_0.9": 1}
    assert "must evaluate the champion anew" in found.gate[0] and found.test == {"mask": 1}


def test_a_mask_that_is_only_encoded_anew_is_the_same(first: Path) -> None:
    given_rows = [to_row(s) for s in TRAIN]
    colour = np.repeat(TRAIN[0].mask[:, :, None].astype(np.uint8) * 9, 3, axis=2)
    given_rows[0]["masks"] = [{"bytes": encode_png(colour), "path": None}]
    other = write(first.parent / "b", TRAIN, TEST)
    pq.write_table(pa.Table.from_pylist(given_rows, SCHEMA), other / "train.parquet")
    assert compare(first, other).same


@pytest.mark.parametrize(
    ("changes", "kind", "scored"),
    [
        ({"question": "Which part shines?"}, "question", True),
        ({"image": TEST[0].image // 2}, "picture", True),
        ({"points": TEST[1].points}, "answer", True),
        ({"trace": "It shines."}, "trace", False),
        ({"modality": "MRI"}, "labels", False),
    ],
)
def test_what_the_gate_measures_is_told_from_what_it_does_not(
    first: Path, changes: dict[str, Any], kind: str, scored: bool
) -> None:
    found = changed(first, test=with_(TEST, 0, **changes))
    assert found.counts == {kind: 1} and bool(found.test) == scored
    assert ("must evaluate the champion anew" in found.gate[0]) == scored
    assert not changed(first, train=with_(TRAIN, 0, **changes)).test, "in training it concerns no figure"


def test_a_patient_that_moved_from_train_to_test_was_seen_by_the_champion(first: Path) -> None:
    found = changed(first, train=TRAIN[1:], test=[*TEST, TRAIN[0]])
    assert found.moves == {"train to test": 1} and found.test == {"moved": 1}
    assert found.trained_before == 1 and "a champion trained on the first data set has seen them" in found.gate[1]


def test_single_files_are_compared_by_id(first: Path) -> None:
    write_split(first.parent / "one.parquet", TRAIN)
    assert compare(first / "train.parquet", first.parent / "one.parquet").same
    assert compare(first / "train.parquet", first / "test.parquet").counts == {"added": 4, "removed": 6}


def test_bad_data_sets_are_named(first: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not a data set"):
        compare(first, tmp_path / "nowhere")
    with pytest.raises(InputError, match="the id s0 stands twice in the second data set"):
        changed(first, train=[*TRAIN, TRAIN[0]])
    with pytest.raises(InputError, match="the id new stands twice in the second data set"):
        changed(first, train=[*TRAIN, sample(1, id="new"), sample(2, id="new")])
    with pytest.raises(InputError, match="the id s0 stands twice in the first data set"):
        compare(first.parent / "b", first) if write(first.parent / "b", [TRAIN[0], TRAIN[0]], TEST) else None
    bad = [to_row(TRAIN[0]) | {"masks": []}]
    pq.write_table(pa.Table.from_pylist(bad, SCHEMA), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=r"bad.parquet row 0: not a row of the U-MRG schema"):
        compare(tmp_path / "bad.parquet", first)


def test_no_more_than_a_part_of_a_file_is_in_memory(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / "many.parquet"
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for group in range(400):
            row = to_row(sample(0, id=f"s{group}")) | {"images": [{"bytes": rng.bytes(20_000), "path": None}]}
            writer.write_table(pa.Table.from_pylist([row], SCHEMA))
    whole, before = path.stat().st_size, pa.total_allocated_bytes()
    for reader in (rows({"many": path}), read_rows(path)):
        next(reader)
        assert pa.total_allocated_bytes() - before < whole / 3
        del reader


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.dictionaries(st.integers(0, 9), st.sampled_from(["train", "test"])),
    after=st.dictionaries(st.integers(0, 9), st.sampled_from(["train", "test"])),
)
def test_counts_are_those_of_sets(tmp_path: Path, before: dict[int, str], after: dict[int, str]) -> None:
    folders = []
    for name, placed in (("a", before), ("b", after)):
        parts = [[sample(n) for n, split in placed.items() if split == wanted] for wanted in ("train", "test")]
        folders.append(write(tmp_path / name, *parts))
    found = compare(*folders)
    both = before.keys() & after.keys()
    expected = {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "moved": sum(before[n] != after[n] for n in both),
    }
    assert dict(found.counts) == {kind: count for kind, count in expected.items() if count}
