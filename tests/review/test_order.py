"""The order of review, hidden gold, and plans that cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.records import SAMPLES, Record, write_records
from medreasoner_monai.review.board import Plan
from medreasoner_monai.review.order import Gold, model_order, queue


def record(name: str, **changes: object) -> Record:
    plain = {"category": "liver", "supercategory": "", "modality": "CT", "question": "?", "text": "", "reason": ""}
    rest = {"answered": True, "trace": "", "bbox": None, "points": None, "box_iou": 0.5, "point_dice": 0.5}
    return Record(name, **{**plain, **rest, **changes})  # type: ignore[arg-type]


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    records = [
        record("good", masks={"classical/both": 0.9, "classical/box": 0.2}, confidence=0.3),
        record("bad", masks={"classical/both": 0.1}, confidence=0.9),
        record("silent", answered=False, box_iou=0.0),
        record("found nothing, rightly", present=False, answered=False, confidence=0.5),
        record("found something absent", present=False, answered=True, confidence=0.6),
    ]
    write_records(tmp_path / SAMPLES, records)
    return tmp_path


IDS = ["found nothing, rightly", "found something absent", "bad", "good", "silent", "unknown"]


def test_disagreement_comes_first(evaluation: Path) -> None:
    order = model_order(IDS, evaluation, "disagreement")
    assert order == ["found something absent", "silent", "bad", "good", "found nothing, rightly", "unknown"]


def test_the_least_confident_comes_first(evaluation: Path) -> None:
    order = model_order(IDS, evaluation, "confidence")
    assert order[:4] == ["good", "found nothing, rightly", "found something absent", "bad"]


def test_an_order_by_a_model_needs_its_evaluation(tmp_path: Path) -> None:
    assert model_order(["b", "a"], None, "id") == ["a", "b"]
    with pytest.raises(InputError, match="--order disagreement needs --evaluation"):
        model_order(["a"], None, "disagreement")
    with pytest.raises(InputError, match="does not exist"):
        model_order(["a"], tmp_path, "disagreement")


@given(st.integers(1, 60), st.integers(0, 12), st.sampled_from([0.05, 0.1, 0.25, 0.5]), st.text(max_size=5))
def test_nothing_is_lost_and_gold_does_not_crowd(count: int, golden: int, share: float, reviewer: str) -> None:
    ids = [f"s{n}" for n in range(count)]
    gold = Gold({name: {"mask": "accept"} for name in ids[:golden]}, share)
    mixed = queue(ids, gold, reviewer)
    assert sorted(mixed) == sorted(ids)
    assert mixed == queue(ids, gold, reviewer), "resuming meets the same order"
    plain = [name for name in mixed if name not in gold.verdicts]
    assert plain == [name for name in ids if name not in gold.verdicts], "the others keep theirs"
    until = mixed[: max((i for i, n in enumerate(mixed) if n not in gold.verdicts), default=-1) + 1]
    assert sum(name in gold.verdicts for name in until) <= share * len(until) + 1


def test_readers_meet_gold_at_different_places() -> None:
    ids = [f"s{n}" for n in range(100)]
    gold = Gold({name: {"mask": "accept"} for name in ids[:8]}, 0.1)
    places = {tuple(i for i, n in enumerate(queue(ids, gold, r)) if n in gold.verdicts) for r in ("ann", "bob", "cyd")}
    assert len(places) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("not json", "is not JSON"),
        ("[]", "expected"),
        ('{"s9": {"mask": "accept"}}', "has no sample s9"),
        ('{"s0": {"box": "accept"}}', "verdicts on question, mask or trace"),
        ('{"s0": {"mask": "yes"}}', "a verdict is accept, edit or reject, found 'yes'"),
    ],
)
def test_gold_that_cannot_be_read_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "gold.json").write_text(text)
    with pytest.raises(InputError, match=said):
        Gold.read(tmp_path / "gold.json", ["s0"])
    (tmp_path / "gold.json").write_text(json.dumps({"s0": {"mask": "reject"}}))
    assert Gold.read(tmp_path / "gold.json", ["s0"]).verdicts["s0"] == {"mask": "reject"}


def test_plans_that_cannot_be() -> None:
    with pytest.raises(InputError, match="ann is named twice; an adjudicator is not one of the readers"):
        Plan(("ann",), ("ann",))
    with pytest.raises(InputError, match="2 readings of each sample need as many readers, got 1"):
        Plan(("ann",), readings=2)
    with pytest.raises(InputError, match="at least one reviewer"):
        Plan(())
