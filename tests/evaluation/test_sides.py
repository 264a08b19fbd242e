"""Left for right, on pictures and boxes made by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.data.questioning import phantom_samples
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.evaluation.answerers import Answerer
from medreasoner_monai.evaluation.metrics import mistake_rate, summarise
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.evaluation.scoring import evaluate_batch
from medreasoner_monai.evaluation.sides import counterpart, crossings, is_sided, midline, sides_report, target_midline
from medreasoner_monai.reasoners.protocol import Reading
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.geometry import Box, Points
from tests.evaluation.records import record
from tests.samples import absent_sample, sample

LEFT, RIGHT = [70.0, 40.0, 90.0, 60.0], [10.0, 40.0, 30.0, 60.0]
"""A pair about a midline at column 50, as an axial picture shows them."""


def kidney(number: int, box: list[float], **changes: Any) -> Record:
    """A left kidney, and the region given for it."""
    about = {"category": "left kidney", "truth": LEFT, "midline": 50.0, "picture": f"p{number}", "bbox": box}
    return record(number, **(about | changes))


@pytest.mark.parametrize(
    ("box", "crossed"),
    [
        (LEFT, False),
        (RIGHT, True),
        ([52.0, 10.0, 60.0, 20.0], False),  # far off, but on its side
        ([40.0, 40.0, 48.0, 60.0], True),
        ([20.0, 40.0, 90.0, 60.0], False),  # over both, more of it here
    ],
)
def test_a_region_across_the_midline_is_on_the_other_side(box: list[float], crossed: bool) -> None:
    assert crossings([kidney(0, box)]) == {"s0": crossed}


def test_the_known_counterpart_decides_where_the_data_has_it() -> None:
    # Two chambers of a heart that lies left of the midline: the mirror image would be no place of either.
    left, right = [70.0, 40.0, 80.0, 60.0], [55.0, 40.0, 65.0, 60.0]
    about = {"midline": 50.0, "picture": "heart"}
    chambers = [
        record(0, category="left ventricle", truth=left, bbox=right, **about),
        record(1, category="right ventricle", truth=right, bbox=right, **about),
    ]
    assert crossings(chambers) == {"s0": True, "s1": False}
    # In another picture it is no counterpart.
    assert crossings([replace(chambers[0], picture="other"), chambers[1]]) == {"s0": False, "s1": False}


def test_a_target_across_the_midline_or_absent_or_without_a_region_is_left_out() -> None:
    nowhere = {"answered": False, "bbox": None, "reason": "answer is not JSON"}
    records = [
        kidney(0, RIGHT, midline=None),
        kidney(1, RIGHT, truth=None, present=False),
        kidney(2, RIGHT, **nowhere),
        kidney(3, RIGHT, category="liver", question="Which organ makes bile?"),
    ]
    assert crossings(records) == {}
    report = sides_report(records)
    assert (report["samples"], report["regions"], report["confusion_rate"]) == (2, 0, None)


def test_the_rate_and_its_interval_by_category() -> None:
    records = [kidney(n, RIGHT if n < 2 else LEFT) for n in range(8)]
    records += [kidney(8 + n, LEFT, category="left lung") for n in range(2)]
    metrics = summarise(records, resamples=100)
    found = mistake_rate(metrics, "left_right_confusion")
    assert found is not None and (found["mean"], found["n"]) == (0.2, 10)
    assert found["low"] == pytest.approx(0.0567, abs=1e-4) and found["high"] == pytest.approx(0.5098, abs=1e-4)
    assert {k: v["mean"] for k, v in metrics["left_right"]["by_category"].items()} == {
        "left kidney": 0.25,
        "left lung": 0.0,
    }


@pytest.mark.parametrize(
    ("category", "question", "sided"),
    [
        ("left kidney", "Which organ?", True),
        ("spleen", "Which organ lies on the patient's Left?", True),
        ("liver", "Which bright organ is leftover?", False),
        ("cleft", "An upright figure?", False),
    ],
)
def test_a_side_is_a_word_of_its_own(category: str, question: str, sided: bool) -> None:
    assert is_sided(category, question) is sided


def test_counterparts() -> None:
    assert counterpart("Right lung upper lobe") == "left lung upper lobe"
    assert counterpart(counterpart("left kidney") or "") == "left kidney"
    assert counterpart("aorta") is None


@given(st.integers(30, 70), st.integers(6, 18), st.integers(0, 3))
def test_the_midline_of_a_body_is_found_wherever_it_lies(centre: int, half: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = np.zeros((40, 100), dtype=np.uint8)
    one_side = rng.integers(60, 200, (30, half), dtype=np.uint8)
    picture[5:35, centre - half : centre] = one_side
    picture[5:35, centre : centre + half] = one_side[:, ::-1]
    assert midline(picture) == centre
    assert midline(np.repeat(picture[..., None], 3, axis=2)) == centre
    assert midline(picture[:, ::-1]) == 100 - centre


def test_the_target_must_lie_off_the_line() -> None:
    picture = np.zeros((40, 60), dtype=np.uint8)
    picture[4:36, 10:50] = 90
    side, across = np.zeros((2, 40, 60), dtype=bool)
    side[10:20, 12:22], across[10:20, 25:37] = True, True

    def of(mask: np.ndarray[Any, Any], **changes: Any) -> float | None:
        rows, columns = np.nonzero(mask)
        made = sample(0)
        box = Box(float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1), made.frame)
        about = {"category": "left kidney", "image": picture, "mask": mask, "box": box}
        return target_midline(replace(made, **(about | changes)))

    assert of(side) == 30.0
    assert of(across) is None
    assert of(side, category="liver") is None
    assert target_midline(absent_sample(0, category="left kidney")) is None


class Mirrored(Answerer):
    """Answers with the truth turned over at the picture's middle: a model that takes left for right."""

    name = digest = prompt_digest = "mirrored"

    def answer(self, samples: Any) -> list[Reading]:
        return [Reading(self._turned(s), "", s.frame, 0.0) for s in samples]

    @staticmethod
    def _turned(s: Sample) -> Grounding:
        assert s.truth is not None
        box, points = s.truth
        w = s.frame.width
        (ax, ay), (bx, by) = points.xy
        return Grounding(
            None, Box(w - box.x2, box.y1, w - box.x1, box.y2, s.frame), Points((w - ax, ay), (w - bx, by), s.frame)
        )


def test_on_radiographs_a_model_that_takes_left_for_right_is_found_out() -> None:
    drawn = phantom_samples(
        "test", 12, sites=("chest_xray",), categories=("left lung", "right lung"), per_phantom=2, seed=0
    )
    lungs = list(drawn)
    wrong = sides_report(evaluate_batch(Mirrored(), lungs, {}))
    assert wrong["samples"] == 12 and wrong["regions"] >= 10
    assert wrong["confusion_rate"]["mean"] == 1.0
