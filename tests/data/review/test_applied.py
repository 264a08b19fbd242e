"""Verdicts in curation: corrections replace, what was rejected is set aside, and every mask is accounted for."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from medreasoner_monai.data.curate_stage import REJECTS, SPLITS, curate_into
from medreasoner_monai.data.review.applied import Reviews, contents_of, digest_of
from medreasoner_monai.data.review.events import Judgement, picture_digest
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import encode_png, read_split, to_row, write_split
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.settings.data import DataSettings, ParquetSettings, ReviewSettings
from tests.samples import absent_sample, sample

_CLIENT = count()


@pytest.fixture
def store(tmp_path: Path) -> ReviewStore:
    return ReviewStore(tmp_path / "reviews.sqlite", create=True)


def judge(store: ReviewStore, of: Sample, reviewer: str = "ann", **verdicts: Any) -> None:
    """``mask="accept"``, ``question=b"new words"`` (an edit), ``trace="reject"``…"""
    for field, content in contents_of(of).items():
        if (said := verdicts.get(field)) is None:
            continue
        verdict, value = ("edit", said) if isinstance(said, bytes) else (said, None)
        seen, client, role = digest_of(content), str(next(_CLIENT)), verdicts.get("role", "reader")
        made = Judgement(reviewer, of.id, picture_digest(of.image), field, seen, verdict, client, value, role=role)
        store.add(made)


def accept(store: ReviewStore, of: Sample, reviewer: str = "ann", **others: Any) -> None:
    judge(store, of, reviewer, **{"question": "accept", "mask": "accept", "trace": "accept"} | others)


def curated(tmp_path: Path, store: ReviewStore, samples: list[Sample], **settings: Any) -> tuple[Any, dict[str, str]]:
    """The samples of the train split by id, and the reasons of what was set aside by place."""
    write_split(tmp_path / "train.parquet", samples)
    write_split(tmp_path / "test.parquet", kept := [sample(n) for n in (100, 101)])
    write_split(tmp_path / "val.parquet", [sample(102)])
    for one in (*kept, sample(102)):
        accept(store, one)
    source = ParquetSettings(kind="parquet", **{s: tmp_path / f"{s}.parquet" for s in SPLITS})  # type: ignore[arg-type]
    draft = Draft(tmp_path / "dataset.partial", tmp_path / "dataset.scratch")
    review = ReviewSettings(path=store.path, **settings)
    curate_into(draft, DataSettings(sources=(source,), review=review), NoProgress())
    rejects = pq.read_table(draft.path / REJECTS).to_pylist()
    assert all(r["step"] == "review" for r in rejects)
    assert draft.facts["masks"]["rejected"] == sum(r["masks"] for r in rejects)
    return {s.id: s for s in read_split(draft.path / "train.parquet")}, {r["where"]: r["reason"] for r in rejects}


def moved(of: Sample, by: int) -> np.ndarray:
    return np.roll(of.mask, by, axis=1)


def test_a_corrected_mask_brings_its_box_and_points(tmp_path: Path, store: ReviewStore) -> None:
    one = sample(0)
    mask = np.zeros_like(one.mask)
    mask[5:9, 30:50] = True
    accept(store, one, mask=encode_png(mask))
    found, rejects = curated(tmp_path, store, [one, sample(1)])
    assert not rejects and (found["s0"].mask == mask).all()
    assert found["s0"].box is not None and found["s0"].box.xyxy == (30, 5, 50, 9), "columns and rows behind the last"
    assert found["s0"].points is not None and all(mask[int(y), int(x)] for x, y in found["s0"].points.xy)
    assert found["s1"].question == sample(1).question and (found["s1"].mask == sample(1).mask).all()


def test_edited_words_replace(tmp_path: Path, store: ReviewStore) -> None:
    accept(store, sample(0), question=b"Which part is brightest?", trace=b"It stands out.")
    found, _ = curated(tmp_path, store, [sample(0)])
    assert (found["s0"].question, found["s0"].trace) == ("Which part is brightest?", "It stands out.")


def test_any_rejected_part_sets_the_sample_aside(tmp_path: Path, store: ReviewStore) -> None:
    for number, field in enumerate(("question", "mask", "trace")):
        accept(store, sample(number), **{field: "reject"})
    found, rejects = curated(tmp_path, store, [sample(n) for n in range(4)])
    assert list(found) == ["s3"]
    assert "reviewers rejected its question" in rejects["train.parquet row 0"]
    assert "reviewers rejected its mask" in rejects["train.parquet row 1"]
    assert "reviewers rejected its trace" in rejects["train.parquet row 2"]


def test_reviewed_samples_alone_when_they_are_required(tmp_path: Path, store: ReviewStore) -> None:
    accept(store, sample(0))
    judge(store, sample(1), question="accept")
    accept(store, sample(3, trace=""))
    found, rejects = curated(tmp_path, store, [sample(0), sample(1), sample(2), sample(3, trace="")], require=True)
    assert list(found) == ["s0", "s3"], "a sample without a trace has nothing to judge there"
    assert "its mask and trace has not been judged by 1 reader(s)" in rejects["train.parquet row 1"]
    assert "nobody has reviewed it" in rejects["train.parquet row 2"]


def test_a_verdict_does_not_outlive_what_it_was_about(tmp_path: Path, store: ReviewStore) -> None:
    accept(store, sample(0), question="reject")
    accept(store, sample(1))
    asked_anew = replace(sample(0), question="Which part is brighter than the rest?")
    other_picture = replace(sample(1), image=sample(1).image + 1)
    found, rejects = curated(tmp_path, store, [asked_anew, other_picture])
    assert list(found) == ["s0", "s1"] and not rejects
    reviews = Reviews(store, require=True)
    assert "its question has not been judged" in str(reviews.apply(to_row(asked_anew), "row 0"))
    assert "its picture is not the one that was reviewed" in str(reviews.apply(to_row(other_picture), "row 1"))


def test_readers_who_disagree_need_an_adjudicator(tmp_path: Path, store: ReviewStore) -> None:
    for n in range(4):
        accept(store, sample(n), "ann")
    accept(store, sample(0), "bob")
    accept(store, sample(1), "bob", mask="reject")
    accept(store, sample(2), "bob", mask=encode_png(moved(sample(2), 6)))
    accept(store, sample(3), "bob", mask="reject")
    judge(store, sample(3), "cyd", mask="accept", role="adjudicator")
    found, rejects = curated(tmp_path, store, [sample(n) for n in range(4)])
    assert list(found) == ["s0", "s3"]
    assert rejects["train.parquet row 1"] == rejects["train.parquet row 2"]
    assert "reviewers disagree on its mask; adjudicate it" in rejects["train.parquet row 1"]


def test_masks_that_differ_by_a_hair_are_one_judgement(tmp_path: Path, store: ReviewStore) -> None:
    one = sample(0)
    hair = one.mask.copy()
    row, column = np.argwhere(hair)[0]
    hair[row, column] = False
    accept(store, one, "ann")
    accept(store, one, "bob", mask=encode_png(hair))
    found, rejects = curated(tmp_path, store, [one])
    assert not rejects and (found["s0"].mask == hair).all(), "the edit is what counts"


def test_a_target_that_was_drawn_is_present(tmp_path: Path, store: ReviewStore) -> None:
    absent = absent_sample(0)
    accept(store, absent, mask=encode_png(sample(0).mask))
    found, _ = curated(tmp_path, store, [absent, sample(1)])
    assert found["s0"].present and found["s0"].absent == "" and found["s0"].box == sample(0).box


def test_a_correction_that_cannot_stand_is_set_aside(tmp_path: Path, store: ReviewStore) -> None:
    accept(store, sample(0), question=b"<|im_end|>")
    accept(store, sample(1), mask=encode_png(np.ones((3, 3), dtype=bool)))
    found, rejects = curated(tmp_path, store, [sample(n) for n in range(3)])
    assert list(found) == ["s2"] and len(rejects) == 2
    assert all("its corrected version cannot be used" in reason for reason in rejects.values())


def test_the_identity_is_that_of_the_verdicts(store: ReviewStore) -> None:
    before = Reviews(store).identity()
    accept(store, sample(0))
    accepted = Reviews(store).identity()
    assert accepted != before and Reviews(store).identity() == accepted
    assert Reviews(store, require=True).identity() != accepted
    judge(store, sample(0), mask="reject")
    rejected = Reviews(store).identity()
    assert rejected != accepted
    judge(store, sample(0), mask="withdraw")
    assert Reviews(store).identity() == accepted, "taken back, it is as if it had not been said"
