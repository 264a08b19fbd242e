"""Evaluating with reasoners whose answers are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import read_split, write_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.answerers import ModelAnswerer, Truth
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.evaluation.records import read_records, write_records
from medreasoner_monai.evaluation.scoring import evaluate, evaluate_batch
from medreasoner_monai.pipeline.progress import NoProgress
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.baselines import WholeBox
from medreasoner_monai.segmenters.protocol import Mask, Prompt
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Frame
from tests.samples import absent_sample, sample

SEGMENTERS = {"box": Embeddings(build("box"))}


class Truthful:
    """Answers with the truth, and counts the questions; says nothing to those in ``mute``."""

    name = digest = prompt_digest = "truthful"
    capabilities: frozenset[Capability] = frozenset()

    def __init__(self, samples: Sequence[Sample], mute: Sequence[str] = ()) -> None:
        self.truth = {s.question: s for s in samples}
        self.mute = mute
        self.images: list[Image] = []

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        self.images += images
        return [self._one(self.truth[q]) for q in questions]

    def _one(self, s: Sample) -> Reading:
        answer = NoAnswer(Reason.NOT_JSON) if s.id in self.mute or not s.truth else Grounding("why", *s.truth)
        return Reading(answer, "text", s.frame, 0.01)


@pytest.fixture
def split(tmp_path: Path) -> Path:
    write_split(tmp_path / "test.parquet", [sample(n) for n in range(7)])
    return tmp_path / "test.parquet"


@pytest.fixture
def samples(split: Path) -> list[Sample]:
    return list(read_split(split))


def test_region_for_an_absent_target_overlaps_nothing(tmp_path: Path) -> None:
    shown, absent = sample(0), absent_sample(1)
    told = ModelAnswerer(Truthful([shown, sample(1, question=absent.question)]))
    answered, wrong = evaluate_batch(told, [shown, absent], SEGMENTERS, surface=True)
    silent, right = evaluate_batch(Truth(), [shown, absent], SEGMENTERS)
    assert (answered.present, answered.box_iou, set(answered.masks)) == (
        True,
        1.0,
        {"box/points", "box/box", "box/both"},
    )
    for record, said in ((wrong, True), (right, False)):
        assert (record.present, record.answered, record.box_iou, record.point_dice) == (False, said, 0.0, 0.0)
        assert record.masks == record.more == {}
    assert right.reason == Reason.NOTHING_FOUND and silent.box_iou == 1.0
    # The first row has no masks, the second has.
    write_records(tmp_path / "samples.parquet", [wrong, answered])
    assert read_records(tmp_path / "samples.parquet") == [wrong, answered]


def test_truth_scores_one_everywhere(samples: list[Sample], tmp_path: Path) -> None:
    records = evaluate(
        ModelAnswerer(Truthful(samples)), samples, 7, SEGMENTERS, tmp_path / "shards", NoProgress(), batch=3
    )
    assert [r.id for r in records] == [s.id for s in samples]
    for record in records:
        assert record.answered and record.box_iou == record.point_dice == pytest.approx(1)
        assert record.masks["box/box"] == record.masks["box/both"] == 1  # the targets are rectangles
        assert 0 < record.masks["box/points"] <= 1


def test_unreadable_answer_scores_zero_everywhere_with_its_reason(samples: list[Sample], tmp_path: Path) -> None:
    record = evaluate(
        ModelAnswerer(Truthful(samples, ["s0"])), samples, 7, SEGMENTERS, tmp_path / "shards", NoProgress()
    )[0]
    assert not record.answered and record.reason == "answer is not JSON" and record.bbox is None
    assert record.box_iou == record.point_dice == 0
    assert record.masks == {"box/points": 0, "box/box": 0, "box/both": 0}


def test_the_images_of_readable_answers_are_embedded_eight_samples_at_a_time(tmp_path: Path) -> None:
    class Counting(WholeBox):
        def __init__(self) -> None:
            self.given: list[int] = []

        def embed_many(self, images: Sequence[Image]) -> list[Frame]:
            self.given.append(len(images))
            return super().embed_many(images)

    many = [sample(n) for n in range(11)]
    counting = Counting()
    records = evaluate(
        ModelAnswerer(Truthful(many, ["s3"])),
        many,
        11,
        {"box": Embeddings(counting)},
        tmp_path / "shards",
        NoProgress(),
    )
    assert records is not None and [r.answered for r in records] == [n != 3 for n in range(11)]
    assert counting.given == [7, 3]


def test_finished_shards_are_not_asked_again(samples: list[Sample], tmp_path: Path) -> None:
    def run(reasoner: Truthful) -> list[object]:
        return list(
            evaluate(ModelAnswerer(reasoner), samples, 7, SEGMENTERS, tmp_path / "shards", NoProgress(), batch=3)
        )

    first = run(Truthful(samples))
    assert sorted(p.name for p in (tmp_path / "shards").iterdir()) == ["000000.json", "000001.json", "000002.json"]
    (tmp_path / "shards" / "000001.json").unlink()
    again = Truthful(samples)
    assert run(again) == first and len(again.images) == 3


def test_blank_run_shows_black_pictures_of_the_same_size(samples: list[Sample], tmp_path: Path) -> None:
    reasoner = Truthful(samples)
    evaluate(ModelAnswerer(reasoner, blank=True), samples, 7, {}, tmp_path / "shards", NoProgress())
    assert all(i.shape == (40, 60) and not i.any() for i in reasoner.images)


def test_steps_are_told_up_to_the_total(samples: list[Sample], tmp_path: Path) -> None:
    class Told(NoProgress):
        steps: list[tuple[int, int]] = []  # noqa: RUF012 - one watch, one test

        def step(self, done: int, total: int, **values: float) -> None:
            assert values["box_iou"] == pytest.approx(1)
            self.steps.append((done, total))

    evaluate(ModelAnswerer(Truthful(samples)), samples, 7, {}, tmp_path / "shards", Told(), batch=3)
    assert Told.steps == [(3, 7), (6, 7), (7, 7)]


def test_borders_are_measured_when_wished(samples: list[Sample], tmp_path: Path) -> None:
    (first, *_) = (
        evaluate(ModelAnswerer(Truthful(samples)), samples, 7, SEGMENTERS, tmp_path, NoProgress(), surface=True) or []
    )
    assert first.more["iou/box/box"] == first.more["nsd/box/box"] == 1
    assert first.more["hd95/box/box"] == 0


def test_parts_share_the_shards_and_the_last_one_has_all(samples: list[Sample], tmp_path: Path) -> None:
    def run(k: int, folder: Path, n: int = 3) -> object:
        return evaluate(
            ModelAnswerer(Truthful(samples)), samples, 7, SEGMENTERS, folder, NoProgress(), batch=2, part=(k, n)
        )

    whole = run(1, tmp_path / "whole", 1)
    assert run(2, tmp_path / "parts") is None
    assert sorted(p.name for p in (tmp_path / "parts").iterdir()) == ["000001.json"]
    assert run(3, tmp_path / "parts") is None
    assert run(1, tmp_path / "parts") == whole
    with pytest.raises(InputError, match="k/n"):
        run(4, tmp_path / "parts")


def test_prompts_that_a_segmenter_was_not_trained_on_are_left_out_and_said_so(
    samples: list[Sample], tmp_path: Path
) -> None:
    class BoxOnly(WholeBox):
        prompt_kinds = ("box",)

        def segment(self, embedding: Frame, prompts: Sequence[Prompt]) -> list[Mask]:
            assert all(p.points is None for p in prompts), "points were sent"
            return super().segment(embedding, prompts)

    class Notes(NoProgress):
        notes: list[str] = []  # noqa: RUF012 - one watch, one test

        def note(self, text: str) -> None:
            self.notes.append(text)

    found = evaluate(
        ModelAnswerer(Truthful(samples, ["s0"])),
        samples,
        7,
        {"medsam": Embeddings(BoxOnly())},
        tmp_path,
        Notes(),
        surface=True,
    )
    assert found is not None
    assert all(list(record.masks) == ["medsam/box"] for record in found), "unreadable answers included"
    assert all(name.endswith("/medsam/box") for record in found for name in record.more)
    assert len(Notes.notes) == 1 and "segmenter medsam: scored from box alone" in Notes.notes[0]
