"""Answers turned into masks, and models that several requests share."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.grounding.worker import ModelWorker, WorkItem
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.findings import SliceResult
from tests.dicom.tools import make_ct
from tests.grounding.fakes import BoxSegmenter, MiddleReasoner, grounder

PICTURE = np.full((40, 40), 100, dtype=np.uint8)


def answer(reasoner: MiddleReasoner, segmenter: BoxSegmenter, settings: GroundingSettings) -> SliceResult:
    (result,) = ModelWorker(reasoner, segmenter).answer([WorkItem(PICTURE, 0, "Which?")], settings)
    return result


def test_a_picture_is_encoded_once_for_all_its_questions() -> None:
    segmenter = BoxSegmenter()
    first, second = PICTURE.copy(), PICTURE.copy()
    items = [WorkItem(p, i, q) for p, i in ((first, 7), (second, 9)) for q in ("One?", "Two?")]
    results = ModelWorker(MiddleReasoner(), segmenter).answer(items, GroundingSettings())
    assert [result.index for result in results] == [7, 7, 9, 9]
    assert segmenter.embedded == 2
    assert all(result.mask is not None and result.mask.sum() == 400 for result in results)


def test_several_answers_have_a_confidence_and_their_masks_are_put_to_a_vote() -> None:
    # Boxes 20 wide, every other one 4 further right: IoU with the median (2 further) is 18 / 22.
    reasoner = MiddleReasoner(spread=0.1)
    result = answer(reasoner, BoxSegmenter(), GroundingSettings(answers=4))
    assert result.confidence == pytest.approx(18 / 22, abs=1e-5)
    assert result.mask is not None
    # At least half of four: what either pair marks.
    assert result.voxels == 20 * 24


def test_an_unsure_answer_is_withheld() -> None:
    settings = GroundingSettings(answers=4, threshold=0.9)
    result = answer(MiddleReasoner(spread=0.1), BoxSegmenter(), settings)
    assert result.unsure and result.mask is None and result.grounding is None
    assert result.reason == "not sure enough to answer: confidence 0.82, 0.90 is asked for"


def test_the_models_own_word_that_there_is_nothing_is_kept() -> None:
    silent = MiddleReasoner(least=999, otherwise=Reason.NOTHING_FOUND)
    result = answer(silent, BoxSegmenter(), GroundingSettings())
    assert result.reason == "the answer is that there is nothing to find: There is no such thing."


def test_a_reasoner_of_one_answer_is_not_asked_for_several(tmp_path: Path) -> None:
    class Single(MiddleReasoner):
        name = "single"
        capabilities = frozenset({"batch"})

    make_ct(tmp_path / "ct", 1)
    with pytest.raises(InputError, match="'single' gives one answer per question"):
        grounder(Single()).ground(choose_series(tmp_path / "ct"), "Which?", settings=GroundingSettings(answers=2))


def test_a_reasoner_without_batches_is_asked_one_by_one() -> None:
    class Narrow(MiddleReasoner):
        capabilities = frozenset()

        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            assert len(images) == 1
            return super().answer(images, questions)

    items = [WorkItem(PICTURE, i, "Which?") for i in range(3)]
    assert [r.index for r in ModelWorker(Narrow(), BoxSegmenter()).answer(items, GroundingSettings())] == [0, 1, 2]


def test_a_segmenter_trained_on_boxes_alone_is_sent_no_points() -> None:
    class BoxOnly(BoxSegmenter):
        prompt_kinds = ("box",)

        def segment(self, embedding, prompts):  # type: ignore[no-untyped-def]
            assert all(p.points is None for p in prompts), "points were sent"
            return super().segment(embedding, prompts)

    result = answer(MiddleReasoner(), BoxOnly(), GroundingSettings())
    assert result.voxels == 400


def test_two_requests_take_turns_batch_by_batch_and_get_what_each_would_get_alone(tmp_path: Path) -> None:
    class Slow(MiddleReasoner):
        """Notes whose batch is read, and lets the other request queue up meanwhile."""

        def __init__(self) -> None:
            super().__init__()
            self.order: list[str] = []
            self.busy = threading.Lock()

        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            assert self.busy.acquire(blocking=False), "two batches in the model at once"
            time.sleep(0.05)
            self.order.append(questions[0])
            self.busy.release()
            return super().answer(images, questions)

    make_ct(tmp_path / "one", 16)
    make_ct(tmp_path / "two", 16, spacing=(0.5, 1.25))
    series = {f"{name}?": choose_series(tmp_path / name) for name in ("one", "two")}
    slow = Slow()
    shared = grounder(slow)
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(lambda q: shared.ground(series[q], q), series))
    assert slow.order.count("one?") == slow.order.count("two?") == 4
    changes = sum(a != b for a, b in pairwise(slow.order))
    assert changes >= 5, f"they did not take turns: {slow.order}"
    for question, result in zip(series, together, strict=True):
        alone = grounder().ground(series[question], question)
        (one,), (other,) = result.findings, alone.findings
        assert one.key == other.key and [s.index for s in one.slices] == [s.index for s in other.slices]
        for a, b in zip(one.slices, other.slices, strict=True):
            assert a.grounding == b.grounding and np.array_equal(a.mask, b.mask)


def test_a_request_that_fails_leaves_the_models_to_the_others(tmp_path: Path) -> None:
    class Breaking(MiddleReasoner):
        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            if "break" in questions[0]:
                raise RuntimeError("out of memory")
            return super().answer(images, questions)

    make_ct(tmp_path / "ct", 2)
    series = choose_series(tmp_path / "ct")
    shared = grounder(Breaking())
    with pytest.raises(RuntimeError, match="out of memory"):
        shared.ground(series, "break?")
    assert shared.ground(series, "Which?").found


def test_masks_of_two_requests_are_carried_slice_by_slice(tmp_path: Path) -> None:
    class Noting(BoxSegmenter):
        """Notes which request's slices it is given, by their size."""

        def __init__(self) -> None:
            super().__init__()
            self.widths: list[int] = []

        def segment(self, embedding, prompts):  # type: ignore[no-untyped-def]
            time.sleep(0.02)
            self.widths.append(embedding.shape[1])
            return super().segment(embedding, prompts)

    series = []
    for number, name in enumerate(("one", "two")):
        make_ct(tmp_path / name, 20, shape=(24, 32 + 8 * number))
        series.append(choose_series(tmp_path / name))
    segmenter = Noting()
    shared = grounder(segmenter=segmenter)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda s: shared.ground(s, "Which?", slices=10), series))
    assert all(sum(s.carried for s in r.findings[0].slices) >= 2 for r in results)
    assert sum(a != b for a, b in pairwise(segmenter.widths)) >= 3, segmenter.widths
