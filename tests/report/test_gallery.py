"""Which cases are shown, and how they are drawn."""

from __future__ import annotations

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.evaluation.records import Record
from medreasoner_monai.report.gallery import WIDTH, choose, lens, make_cases, outline, picture
from medreasoner_monai.report.inputs import ReportInputs
from medreasoner_monai.task.answer import Reason
from tests.samples import absent_sample


def record(name: str, iou: float, *, category: str = "", answered: bool = True, reason: str = "") -> Record:
    return Record(
        name, category or name, "Lung", "CT", "Where?", "", answered, reason, "", None, None, iou, iou, {"e/both": iou}
    )


def ids(chosen: dict[str, list[Record]]) -> dict[str, str]:
    return {group: " ".join(r.id for r in records) for group, records in chosen.items()}


def test_best_median_worst_and_failed() -> None:
    records = [record(f"{n}", n / 10) for n in range(1, 10)]
    records += [record("x", 0, answered=False, reason="r"), record("y", 0, answered=False, reason="s")]
    assert ids(choose(records, each=2)) == {
        "best": "9 8",
        "median": "5 6",
        "worst": "1 2",
        "false_positive": "",
        "false_negative": "",
        "failed": "x y",
    }


def test_a_mistake_about_presence_is_no_unreadable_answer() -> None:
    nothing = Reason.NOTHING_FOUND.value
    records = [
        record("given", 0.4),
        record("missed", 0, answered=False, reason=nothing),
        replace(record("alarm", 0), present=False),
        replace(record("right", 0, answered=False, reason=nothing), present=False),
        replace(record("mute", 0, answered=False, reason="r"), present=False),
    ]
    assert ids(choose(records)) == {
        "best": "given",
        "median": "",
        "worst": "",
        "false_positive": "alarm",
        "false_negative": "missed",
        "failed": "mute",
    }


def test_the_order_of_the_records_does_not_matter() -> None:
    records = [record(f"{n}", (n % 3) / 10) for n in range(12)]
    assert ids(choose(records)) == ids(choose(records[::-1]))


def test_a_category_comes_again_only_when_no_other_is_left() -> None:
    records = [record("a", 0.9, category="liver"), record("b", 0.8, category="liver"), record("c", 0.7)]
    assert ids(choose(records, each=2))["best"] == "a c"
    assert ids(choose(records, each=3))["best"] == "a b c"


def test_no_case_is_shown_twice() -> None:
    chosen = choose([record(f"{n}", n / 10) for n in range(4)])
    shown = [r.id for group in chosen.values() for r in group]
    assert sorted(shown) == ["0", "1", "2", "3"]


def test_failed_cases_show_each_reason_the_commonest_first() -> None:
    reasons = ["rare", "common", "common", "common"]
    records = [record(f"{n}", 0, answered=False, reason=r) for n, r in enumerate(reasons)]
    assert ids(choose(records, each=2))["failed"] == "1 0"


def test_the_answered_mask_is_drawn_where_its_segmenter_is_known(inputs: ReportInputs, split: Path) -> None:
    chosen = choose(inputs.evaluated[-1].records)
    drawn = make_cases(chosen, split, "classical/both")
    assert all(case.answer_mask.startswith("M") for case in drawn["best"])
    assert all(case.answer_mask == "" and case.truth_mask for case in drawn["failed"])
    elsewhere = make_cases(chosen, split, "unheard-of/both")
    assert all(case.answer_mask == "" for case in elsewhere["best"])


def test_nothing_is_drawn_where_the_target_is_absent(tmp_path: Path) -> None:
    write_split(tmp_path / "test.parquet", [absent_sample(0)])
    (case,) = make_cases({"failed": [record("s0", 0, answered=False)]}, tmp_path / "test.parquet", None)["failed"]
    assert (case.truth_box, case.truth_points, case.truth_mask, case.lens) == (None, (), "", None)
    assert (case.width, case.height) == (60, 40)


def test_outline_runs_along_pixel_borders_and_is_closed_at_the_edge() -> None:
    mask = np.zeros((10, 12), dtype=bool)
    mask[2:5, 8:] = True
    path = outline(mask)
    numbers = np.array([[float(v) for v in pair.split(",")] for pair in path.strip("MZ").split()])
    assert numbers.min(axis=0).tolist() == [8, 2] and numbers.max(axis=0).tolist() == [12, 5]
    assert path.endswith("Z")


def test_pictures_are_small_and_hold_pixels_alone() -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("PatientName", "Somebody^Known")
    source = io.BytesIO()
    Image.effect_noise((900, 600), 50).save(source, "PNG", pnginfo=info)
    uri = picture(Image.open(source))
    data = base64.b64decode(uri.partition("base64,")[2])
    result = Image.open(io.BytesIO(data))
    assert result.size == (WIDTH, 280)
    assert b"Somebody^Known" not in data and not result.getexif() and "comment" not in result.info


def test_a_small_target_gets_a_lens_in_the_far_corner(samples: list[Sample]) -> None:
    sample = next(s for s in samples if lens(s, None))
    x1, y1, x2, y2 = sample.box.xyxy
    found = lens(sample, None)
    assert found is not None
    x, y, side = found.window
    assert x < x1 < x2 < x + side and y < y1 < y2 < y + side
    assert ("left" in found.corner) == ((x1 + x2) / 2 > sample.frame.width / 2)
    far_off = (0.0, 0.0, float(sample.frame.width), float(sample.frame.height))
    assert lens(replace(sample), far_off) is None
