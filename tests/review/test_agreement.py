"""Agreement between readers, against values worked out by hand."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.data.review.applied import contents_of, digest_of
from medreasoner_monai.data.review.events import Field, Judgement, picture_digest
from medreasoner_monai.data.review.store import ReviewStore
from medreasoner_monai.data.schema import encode_png, write_split
from medreasoner_monai.review.agreement import agreement, clustered, gold_scores
from medreasoner_monai.review.board import Board, Plan
from medreasoner_monai.review.dataset import ReviewedData
from medreasoner_monai.review.order import Gold
from tests.samples import sample

_CLIENT = count()


def board(tmp_path: Path, gold: Gold | None = None, samples: int = 12) -> Board:
    write_split(tmp_path / "data.parquet", [sample(n) for n in range(samples)])
    data = ReviewedData(tmp_path / "data.parquet")
    store = ReviewStore(tmp_path / "r.sqlite", create=True)
    return Board(data, store, Plan(("ann", "bob"), (), 2, "id", gold), [e.id for e in data.entries])


def say(board: Board, number: int, reviewer: str, field: Field, verdict: str, value: bytes | None = None) -> None:
    one = sample(number)
    seen = digest_of(contents_of(one)[field])
    made = Judgement(reviewer, one.id, picture_digest(one.image), field, seen, verdict, str(next(_CLIENT)), value)  # type: ignore[arg-type]
    board.add(made)


def test_percent_and_kappa(tmp_path: Path) -> None:
    here = board(tmp_path)
    # ann: 6 accept, 4 reject; bob: the same but for two of the accepted. po = 0.8, pe = 0.6*0.4 + 0.4*0.6 = 0.48
    for n in range(10):
        say(here, n, "ann", "question", "accept" if n < 6 else "reject")
        say(here, n, "bob", "question", "accept" if n < 4 else "reject")
    found = agreement(here)["question"]
    assert (found.pairs, found.patients) == (10, 5)
    assert found.percent.value == pytest.approx(0.8)
    assert found.kappa.value == pytest.approx((0.8 - 0.48) / (1 - 0.48))
    assert 0 <= found.percent.low <= 0.8 <= found.percent.high <= 1
    assert set(agreement(here)) == {"question"}


def test_the_overlap_of_two_readers_masks(tmp_path: Path) -> None:
    here = board(tmp_path)
    half = sample(0).mask.copy()
    half[:, : np.flatnonzero(half.any(axis=0))[0] + 12] = False  # of 24 columns
    say(here, 0, "ann", "mask", "accept")
    say(here, 0, "bob", "mask", "edit", encode_png(half))
    say(here, 1, "ann", "mask", "accept")
    say(here, 1, "bob", "mask", "reject")
    found = agreement(here)["mask"]
    assert found.mask_dice is not None and found.mask_dice.value == pytest.approx(2 / 3), (
        "a rejected mask has no overlap"
    )
    assert found.percent.value == 0


def test_one_verdict_alone_has_no_kappa(tmp_path: Path) -> None:
    here = board(tmp_path)
    for n in range(4):
        say(here, n, "ann", "trace", "accept")
        say(here, n, "bob", "trace", "accept")
    found = agreement(here)["trace"]
    assert found.percent.value == 1 and np.isnan(found.kappa.value) and str(found.kappa) == "–"
    assert found.as_dict()["kappa"]["value"] is None


def test_intervals_are_of_patients_not_of_pictures() -> None:
    values = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 1.0], 20)  # 6 patients with 20 like pictures each

    def mean(weights: np.ndarray) -> float:
        return float(np.average(values, weights=weights))

    patients = clustered(mean, [f"p{n // 20}" for n in range(120)])
    pictures = clustered(mean, [f"p{n}" for n in range(120)])
    assert patients.value == pictures.value == pytest.approx(2 / 3)
    # The standard error of a mean of m clusters is sd/sqrt(m): sqrt(20) times that of 20 m items.
    ratio = (patients.high - patients.low) / (pictures.high - pictures.low)
    assert ratio == pytest.approx(np.sqrt(20), rel=0.15)


def test_gold_counts_what_each_reader_got_right(tmp_path: Path) -> None:
    gold = Gold({"s0": {"mask": "reject"}, "s1": {"mask": "accept", "question": "accept"}})
    here = board(tmp_path, gold)
    say(here, 0, "ann", "mask", "reject")
    say(here, 1, "ann", "mask", "reject")
    say(here, 1, "ann", "question", "accept")
    say(here, 0, "bob", "mask", "accept")
    say(here, 5, "bob", "mask", "accept")
    assert gold_scores(here) == {"ann": {"mask": (1, 2), "question": (1, 1)}, "bob": {"mask": (0, 1)}}
