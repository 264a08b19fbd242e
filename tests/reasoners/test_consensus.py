"""Several answers made into one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from medreasoner_monai.evaluation.answerers import ConsensusAnswerer
from medreasoner_monai.evaluation.embeddings import Embeddings
from medreasoner_monai.evaluation.scoring import evaluate_batch, segment
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.reasoners.consensus import answer_by_consensus, consensus
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.task.answer import Answer, Grounding, NoAnswer, Reason
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.samples import sample

FRAME = Frame(60, 40, "stored")
MUTE = NoAnswer(Reason.NOT_JSON, "?")
NOTHING = NoAnswer(Reason.NOTHING_FOUND, "clear")


def region(x1: float, trace: str = "why", width: float = 20) -> Grounding:
    box = Box(x1, 10, x1 + width, 30, FRAME)
    return Grounding(trace, box, Points((x1 + 5, 15), (x1 + 9, 25), FRAME))


def test_equal_answers_agree_wholly() -> None:
    answer, confidence, votes = consensus([region(10)] * 4)
    assert (answer, confidence, len(votes)) == (region(10), 1, 4)


def test_the_stray_answer_does_not_move_the_box() -> None:
    answers = [region(10, "a"), region(11, "b"), region(12, "c"), region(40, "far")]
    answer, confidence, votes = consensus(answers)
    assert isinstance(answer, Grounding)
    assert answer.box.xyxy == (11, 10, 31, 30)
    assert answer.trace == "b"
    assert votes == tuple(answers[:3])
    # IoU with the box: 19 of 21 columns twice, all of them once, and none.
    assert confidence == pytest.approx((19 / 21 + 1 + 19 / 21 + 0) / 4)


def test_unreadable_answers_lower_the_confidence() -> None:
    answer, confidence, _ = consensus([region(10), region(10), MUTE, MUTE])
    assert (answer, confidence) == (region(10), 0.5)


@pytest.mark.parametrize(
    ("answers", "expected", "confidence"),
    [
        ([MUTE, MUTE, region(10)], MUTE, 0.0),
        ([MUTE, NOTHING, region(10), MUTE], MUTE, 0.0),
        ([NOTHING, NOTHING, NOTHING, region(10)], NOTHING, 0.75),
        ([NOTHING, region(10), NOTHING, MUTE], NOTHING, 0.5),
        ([NOTHING, MUTE], NOTHING, 0.5),
    ],
)
def test_what_most_say_stands(answers: Sequence[Answer], expected: Answer, confidence: float) -> None:
    assert consensus(answers) == (expected, confidence, ())


def test_votes_for_nothing_lower_the_evidence_of_a_region() -> None:
    answer, confidence, votes = consensus([region(10), region(11), NOTHING, NOTHING])
    # Half of the votes, times a mean IoU of 19.5 of 20.5 columns with the median box.
    assert isinstance(answer, Grounding) and len(votes) == 2
    assert confidence == pytest.approx(0.5 * 19.5 / 20.5)
    # Fewer than half say "nothing", though no half has a region: the unreadable one says neither.
    answer, confidence, _ = consensus([region(10), region(10), NOTHING, NOTHING, MUTE])
    assert (answer, confidence) == (region(10), pytest.approx(0.4))


def test_a_calibrated_confidence_is_held_against_the_threshold() -> None:
    table = Calibration((0.0, 1.0), (0.0, 0.5), 4, 0.7, 100)
    samples = [sample(n) for n in range(6)]
    images, questions = [s.image for s in samples], [s.question for s in samples]

    def ask(threshold: float, calibration: Calibration | None) -> list[Reading]:
        return answer_by_consensus(Wavering(), images, questions, 4, temperature=0.7, seed=0, threshold=threshold,
                                   calibration=calibration)  # fmt: skip

    raw, halved = ask(0, None), ask(0, table)
    assert [r.confidence for r in halved] == [pytest.approx((r.confidence or 0) / 2, abs=1e-5) for r in raw]
    assert [r.answer for r in halved] == [r.answer for r in raw]
    # Every agreement is over 0.5, and half of it under.
    assert all((r.confidence or 0) > 0.5 for r in raw)
    assert all(isinstance(r.answer, NoAnswer) and r.answer.reason is Reason.UNSURE for r in ask(0.5, table))
    assert all(isinstance(r.answer, Grounding) for r in ask(0.5, None))


def test_masks_are_put_to_the_vote() -> None:
    answers = [region(10), region(12), region(14), region(16)]
    masks = segment(Embeddings(build("box")), np.zeros((40, 60), dtype=np.uint8), answers)
    expected = np.zeros((40, 60), dtype=bool)
    expected[10:30, 12:34] = True  # columns that at least two of the four boxes hold
    assert np.array_equal(masks["box"], expected)


class Wavering:
    """Answers around the truth, by the seed."""

    name = digest = prompt_digest = "wavering"
    capabilities: frozenset[Capability] = frozenset({"batch", "sample", "seed"})

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        raise AssertionError("a consensus asks for several answers")

    def sample(
        self, images: Sequence[Image], questions: Sequence[str], count: int, *, temperature: float, seed: int
    ) -> list[list[Reading]]:
        rng = np.random.default_rng(seed)
        return [
            [Reading(region(float(rng.integers(5, 15))), "text", FRAME, 0.25) for _ in range(count)] for _ in images
        ]


def test_under_the_threshold_it_abstains() -> None:
    samples = [sample(n) for n in range(6)]
    free = ConsensusAnswerer(Wavering(), 4, 0.7).answer(samples)
    limit = sorted(r.confidence or 0 for r in free)[3]
    for reading, one in zip(ConsensusAnswerer(Wavering(), 4, 0.7, threshold=limit).answer(samples), free, strict=True):
        assert reading.confidence == one.confidence
        if (one.confidence or 0) < limit:
            assert isinstance(reading.answer, NoAnswer)
            assert reading.answer.reason is Reason.UNSURE
        else:
            assert reading == one


def test_the_record_has_the_confidence_and_the_same_batch_the_same_answer() -> None:
    samples = [sample(n) for n in range(3)]

    def run(seed: int = 0) -> list[object]:
        who = ConsensusAnswerer(Wavering(), 4, 0.7, seed)
        return list(evaluate_batch(who, samples, {"box": Embeddings(build("box"))}))

    first = run()
    assert first == run()
    assert first != run(seed=1)
    assert all(0 < r.confidence <= 1 and r.seconds == 1.0 for r in first)  # type: ignore[attr-defined]
