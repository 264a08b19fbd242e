"""Evaluating with reasoners whose answers are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.data.schema import Sample, read_split, write_split
from medreasoner_monai.evaluation.run import evaluate, mask_dice
from medreasoner_monai.reasoners.protocol import Image, Reading
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.watch import Silent
from tests.samples import sample

SEGMENTERS = {"box": build("box")}


class Truthful:
    """Answers with the truth, and counts the questions; says nothing to those in ``mute``."""

    name = digest = prompt_digest = "truthful"

    def __init__(self, samples: Sequence[Sample], mute: Sequence[str] = ()) -> None:
        self.truth = {s.question: s for s in samples}
        self.mute = mute
        self.images: list[Image] = []

    def ground(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        self.images += images
        return [self._one(self.truth[q]) for q in questions]

    def _one(self, s: Sample) -> Reading:
        answer = NoAnswer(Reason.NOT_JSON) if s.id in self.mute else Grounding("why", s.box, s.points)
        return Reading(answer, "text", s.frame, 0.01)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "test.parquet", [sample(n) for n in range(7)])
    return tmp_path / "test.parquet"


@pytest.fixture
def samples(split: Path) -> list[Sample]:
    return list(read_split(split))


def test_truth_scores_one_everywhere(split: Path, samples: list[Sample], tmp_path: Path) -> None:
    records = evaluate(Truthful(samples), split, 7, SEGMENTERS, tmp_path / "shards", Silent(), batch=3)
    assert [r.id for r in records] == [s.id for s in samples]
    for record in records:
        assert record.answered and record.box_iou == record.point_dice == pytest.approx(1)
        assert record.masks["box/box"] == record.masks["box/both"] == 1  # the targets are rectangles
        assert 0 < record.masks["box/points"] <= 1


def test_unreadable_answer_scores_zero_everywhere_with_its_reason(
    split: Path, samples: list[Sample], tmp_path: Path
) -> None:
    record = evaluate(Truthful(samples, ["s0"]), split, 7, SEGMENTERS, tmp_path / "shards", Silent())[0]
    assert not record.answered and record.reason == "answer is not JSON" and record.bbox is None
    assert record.box_iou == record.point_dice == 0
    assert record.masks == {"box/points": 0, "box/box": 0, "box/both": 0}


def test_finished_shards_are_not_asked_again(split: Path, samples: list[Sample], tmp_path: Path) -> None:
    def run(reasoner: Truthful) -> list[object]:
        return list(evaluate(reasoner, split, 7, SEGMENTERS, tmp_path / "shards", Silent(), batch=3))

    first = run(Truthful(samples))
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == ["000000.json", "000001.json", "000002.json"]
    (tmp_path / "shards" / "000001.json").unlink()
    again = Truthful(samples)
    assert run(again) == first and len(again.images) == 3


def test_blank_run_shows_black_pictures_of_the_same_size(split: Path, samples: list[Sample], tmp_path: Path) -> None:
    reasoner = Truthful(samples)
    evaluate(reasoner, split, 7, {}, tmp_path / "shards", Silent(), blank=True)
    assert all(i.shape == (40, 60) and not i.any() for i in reasoner.images)


def test_steps_are_told_up_to_the_total(split: Path, samples: list[Sample], tmp_path: Path) -> None:
    class Told(Silent):
        steps: list[tuple[int, int]] = []  # noqa: RUF012 - one watch, one test

        def step(self, done: int, total: int, **values: float) -> None:
            assert values["box_iou"] == pytest.approx(1)
            self.steps.append((done, total))

    evaluate(Truthful(samples), split, 7, {}, tmp_path / "shards", Told(), batch=3)
    assert Told.steps == [(3, 7), (6, 7), (7, 7)]


def test_mask_dice_by_hand() -> None:
    a, b = np.zeros((4, 4), dtype=bool), np.zeros((4, 4), dtype=bool)
    assert mask_dice(a, b) == 0
    a[0], b[0, :2] = True, True
    assert mask_dice(a, b) == pytest.approx(2 * 2 / 6)
    assert mask_dice(a, a) == 1
