"""Those who answer an evaluation without a model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.answerers import CentreBox, Predictions, Truth
from medreasoner_monai.task.answer import Grounding, NoAnswer, Reason, render
from medreasoner_monai.task.geometry import Frame, convert
from tests.samples import sample

SAMPLES = [sample(n) for n in range(3)]


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(r if isinstance(r, str) else json.dumps(r) for r in rows))
    return path


def test_truth_is_the_truth() -> None:
    for s, reading in zip(SAMPLES, Truth().answer(SAMPLES), strict=True):
        assert isinstance(reading.answer, Grounding)
        assert (reading.answer.box, reading.answer.points) == (s.box, s.points)


def test_the_centre_box_is_half_as_wide_and_high() -> None:
    (reading,) = CentreBox().answer(SAMPLES[:1])
    assert isinstance(reading.answer, Grounding)
    assert reading.answer.box.xyxy == (15, 10, 45, 30)  # of 60 x 40
    assert reading.answer.points.xy == ((22.5, 20), (37.5, 20))


def test_predictions_are_read_by_sample_and_brought_to_the_stored_frame(tmp_path: Path) -> None:
    first, second = SAMPLES[:2]
    large = Frame(120, 80, "model")
    rows = (
        {"id": second.id, "completion": "I cannot say."},
        {
            "id": first.id,
            "completion": render("why", convert(first.box, large), convert(first.points, large)),
            "width": 120,
            "height": 80,
        },
    )
    one, two = Predictions(write(tmp_path / "p.jsonl", *rows)).answer([first, second])
    assert isinstance(one.answer, Grounding)
    assert one.answer.box.xyxy == pytest.approx(first.box.xyxy)
    assert isinstance(two.answer, NoAnswer)
    assert two.answer.reason is Reason.NO_ANSWER


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: not a prediction"),
        ({"id": "s1"}, "line 2: not a prediction"),
        ({"id": 3, "completion": "x"}, "line 2: id and completion are texts"),
        ({"id": "s0", "completion": "x"}, "line 2: sample s0 stands twice"),
        ({"id": "s1", "completion": "x", "width": 5}, "line 2: width and height"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictions(write(tmp_path / "p.jsonl", {"id": "s0", "completion": "x"}, row))


def test_a_sample_without_a_prediction_is_named(tmp_path: Path) -> None:
    file = Predictions(write(tmp_path / "p.jsonl", {"id": "s0", "completion": "x"}))
    with pytest.raises(InputError, match="no prediction for sample s1"):
        file.answer(SAMPLES)
