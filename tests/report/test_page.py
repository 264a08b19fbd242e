"""The page: complete, self-contained, honest, and safe against what a model may write."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.schema import write_split
from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.abstention import confidence_report
from medreasoner_monai.evaluation.presence import presence_report
from medreasoner_monai.evaluation.sides import sides_report
from medreasoner_monai.report.inputs import ReportInputs
from medreasoner_monai.report.page import render_page, write_report

SECTIONS = ("data", "training", "results", "mistakes", "categories", "cases", "grounding", "gate", "stages")


class Reader(HTMLParser):
    """Collects what a browser would load or follow, the text, and whether tags close as they opened."""

    VOID = ("meta", "link", "img", "input", "br")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.follows: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.append(tag)
        self.ids += [values["id"]] if "id" in values else []
        (self.follows if tag == "a" else self.loads).extend(
            values[name] for name in ("src", "href", "srcset", "xlink:href", "action", "data") if name in values
        )
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page(inputs: ReportInputs, split: Path) -> str:
    return render_page(inputs, split)


@pytest.fixture(scope="module")
def reader(page: str) -> Reader:
    return Reader(page)


def test_the_run_and_who_started_it_are_named(inputs: ReportInputs, split: Path, tmp_path: Path) -> None:
    named = replace(inputs, run_id="20261124-210501-smoke-3f2a", started="ann@node1 (new <labels>)")
    write_report(named, split, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "20261124-210501-smoke-3f2a" in page and "ann@node1 (new &lt;labels&gt;)" in page


def test_nothing_is_loaded_from_elsewhere(page: str, reader: Reader, inputs: ReportInputs) -> None:
    assert all(address.startswith(("data:", "#")) for address in reader.loads)
    outward = [a for a in reader.follows if not a.startswith("#")]
    assert outward == list(inputs.links.values())
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert len(page) < 3_000_000


def test_every_section_is_there_and_the_page_is_well_formed(reader: Reader) -> None:
    assert set(SECTIONS) <= set(reader.ids)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids)), "ids are unique, the curves' own included"
    assert {f"#{s}" for s in SECTIONS} == {a for a in reader.follows if a.startswith("#")}
    assert reader.text.count(RESEARCH_USE) == 2, "at the top and at the end"


def test_markup_in_a_completion_stays_text(page: str, reader: Reader, inputs: ReportInputs) -> None:
    hostile = next(r.text for r in inputs.evaluated[-1].records if "<script>" in r.text)
    assert "script" not in reader.tags
    assert hostile not in page
    assert hostile in reader.text


def test_figures_are_those_of_the_inputs(reader: Reader, inputs: ReportInputs) -> None:
    for evaluated in inputs.evaluated:
        for measure in evaluated.metrics["overall"].values():
            assert f"{measure['mean']:.3f}" in reader.text
            assert f"{measure['low']:.3f} to {measure['high']:.3f}" in reader.text
    gain = inputs.comparisons[0]["measures"]["box_iou"]
    assert f"Box IoU gained by GRPO {gain['difference']:+.3f}".replace("-", "−") in reader.text
    blank = inputs.evaluated[0].measure("box_iou")["mean"]
    assert f"Box IoU with a blank image {blank:.3f}" in reader.text
    for name, found in inputs.evaluated[-1].metrics["by_category"].items():
        assert f"{name} {found['box_iou']['n']} {found['point_dice']['mean']:.3f}" in reader.text


def test_failed_cases_show_reason_and_what_was_written(reader: Reader, inputs: ReportInputs) -> None:
    failed = [r for r in inputs.evaluated[-1].records if r.unreadable]
    assert failed
    shown = reader.text[reader.text.index("Failed: could not be read") :]
    for record in failed:
        assert record.question in shown and record.reason in shown


def test_phantoms_are_called_synthetic(page: str, inputs: ReportInputs, split: Path) -> None:
    notice = "These pictures are synthetic."
    assert notice in page
    real = replace(inputs, dataset={**inputs.dataset, "synthetic": False})
    assert notice not in render_page(real, split)


def test_same_inputs_same_page(page: str, inputs: ReportInputs, split: Path) -> None:
    assert render_page(inputs, split) == page


def test_what_is_missing_is_said_or_left_out(inputs: ReportInputs, split: Path) -> None:
    bare = replace(
        inputs, evaluated=[], comparisons=[], cold_start_curve=[], grpo_curve=[], grounding=None, stages=[], links={},
        completions=[], model={}, decision={}, dataset={},
    )  # fmt: skip
    reader = Reader(render_page(bare, split))
    assert set(SECTIONS) <= set(reader.ids)
    for sentence in ("No curve was recorded.", "Nothing was compared.", "No series was grounded", "No decision"):
        assert sentence in reader.text


def test_a_number_that_is_none_is_a_dash(inputs: ReportInputs, split: Path) -> None:
    final = inputs.evaluated[-1]
    unknown = {"mean": float("nan"), "low": float("nan"), "high": None, "n": 0}
    metrics: dict[str, Any] = {
        **final.metrics,
        "overall": dict.fromkeys(final.metrics["overall"], unknown),
        "by_category": {"aorta": {"box_iou": unknown}},
    }
    comparison = {"a": "cold_start", "b": "grpo", "measures": {"box_iou": {"difference": float("nan"), "low": None}}}
    stage = {"name": "curate", "seconds": float("nan"), "digest": None, "path": "p", "reused": False}
    page = render_page(
        replace(inputs, evaluated=[replace(final, metrics=metrics)], comparisons=[comparison], stages=[stage]), split
    )
    without_pictures = re.sub(r"base64,[\w+/=]+", "", page)
    assert not re.search(r"\bnan\b|\bNone\b|\binf\b", Reader(without_pictures).text.replace("None:", ""))
    assert not re.search(r'="[^"]*(nan|None)%?"', without_pictures)


def test_alarms_have_their_table_only_if_there_are_any(page: str, inputs: ReportInputs, split: Path) -> None:
    assert 'id="alarms"' not in page
    given = [
        {"stage": "GRPO", "kind": "kl_runaway", "step": 7, "message": "KL is <b>2</b> nats.", "cleared": None},
        {"stage": "Cold start", "kind": "truncated", "step": 3, "message": "Cut off.", "cleared": 9},
    ]
    reader = Reader(render_page(replace(inputs, alarms=given), split))
    assert "alarms" in reader.ids and reader.open == []
    shown = reader.text[reader.text.index("Over at step") :]
    assert shown.startswith("Over at step GRPO 7 kl runaway KL is <b>2</b> nats. – Cold start 3 truncated Cut off. 9")


@pytest.mark.parametrize(("decision", "words"), [("promote", "Promoted"), ("refuse", "Not promoted")])
def test_decision_with_its_checks(inputs: ReportInputs, split: Path, decision: str, words: str) -> None:
    checks = [{"name": "over champion", "passed": decision == "promote", "value": -0.02, "limit": -0.01, "text": "IoU"}]
    given = {
        "decision": decision, "reasons": ["Because of 1 < 2."], "checks": checks, "model_name": "m", "version": 2,
        "alias": "champion", "champion": {"version": 1, "box_iou": 0.5},
    }  # fmt: skip
    text = Reader(render_page(replace(inputs, decision=given), split)).text
    assert words in text and "Because of 1 < 2." in text
    assert ("✓ passed" if decision == "promote" else "✗ failed") in text
    assert "version 1, box iou 0.5" in text


def test_no_password_and_no_script_address_gets_out(inputs: ReportInputs, split: Path) -> None:
    links = {"MLflow": "https://me:secret@host/runs", "Odd": "javascript:alert(1)"}
    page = render_page(replace(inputs, links=links), split)
    assert "secret" not in page
    assert not any(a.startswith("javascript") for a in Reader(page).follows)


def test_written_whole_or_not_at_all(inputs: ReportInputs, split: Path, samples: list[Sample], tmp_path: Path) -> None:
    out = tmp_path / "new" / "report.html"
    write_report(inputs, split, out)
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [p.name for p in out.parent.iterdir()] == ["report.html"]

    other = tmp_path / "other.parquet"
    write_split(other, samples[:1])
    with pytest.raises(InputError, match="has no sample .* the test split that the evaluation was made on"):
        write_report(inputs, other, tmp_path / "never.html")
    assert not (tmp_path / "never.html").exists()


def test_mistakes_that_overlap_does_not_show_are_counted(reader: Reader, inputs: ReportInputs) -> None:
    final = inputs.evaluated[-1]
    absent = [r for r in final.records if not r.present]
    wrong = sum(r.answered for r in absent)
    assert 0 < wrong < len(absent) == 4
    mistakes = reader.text[reader.text.index("Mistakes that overlap does not show") :]
    silent = sum(r.unreadable for r in final.records)
    assert f"Present {24 - silent} 0 0 {silent} Absent {wrong} {4 - wrong} 0 0" in mistakes
    assert "A region for an absent target" in reader.text and f"{100 * wrong / 4:.1f} %" in reader.text
    assert "removed" in mistakes and "other part" in mistakes
    sided = final.metrics["left_right"]
    assert sided["regions"] and f"{sided['samples']} questions are about a side" in mistakes
    for heading in ("A region, but the target is absent", "“Nothing there”, but it is"):
        assert heading in reader.text


def test_a_check_that_was_skipped_is_not_said_to_be_passed(inputs: ReportInputs, split: Path) -> None:
    check = {"name": "false positives", "passed": True, "value": None, "limit": 0.1, "text": "skipped: there is no …"}
    plain = replace(inputs, evaluated=[], decision={**inputs.decision, "checks": [check]})
    text = Reader(render_page(plain, split)).text
    assert "false positives skipped: there is no … skipped – 0.1" in text


def test_what_was_not_measured_is_said(inputs: ReportInputs, split: Path) -> None:
    final = inputs.evaluated[-1]
    metrics = {**final.metrics, "absent": presence_report([]), "left_right": sides_report([])}
    page = render_page(replace(inputs, evaluated=[replace(final, metrics=metrics, records=())]), split)
    text = Reader(page).text
    assert "how often a region is given for nothing is not known" in text
    assert "how often left is taken for right is not known" in text


def test_what_confidence_is_worth_is_a_section_of_its_own(inputs: ReportInputs, split: Path, page: str) -> None:
    assert 'id="confidence"' not in page
    final = inputs.find("grpo")
    assert final is not None
    records = [replace(r, confidence=0.03 * n) for n, r in enumerate(final.records)]
    found = confidence_report(records)
    bins = {"expected_error": 0.195, "squared_error": 0.05, "bins": []}
    worth = {"fitted": True, "n": 97, "least": 50, "before": bins, "after": bins}
    limit = {
        "wanted": 0.6,
        "reached": True,
        "value": 0.48,
        "validation": {"coverage": 0.5, "quality": 0.61},
        "test": {"coverage": 0.25, "quality": 0.5925},
    }
    sure = {
        **final.metrics,
        "confidence": found,
        "answers": 4,
        "temperature": 0.7,
        "threshold": limit,
        "calibrated": worth,
        "absent": presence_report(records),
    }
    # Without the cases' pictures, which take their time.
    plain = replace(inputs, evaluated=[replace(e, records=()) for e in inputs.evaluated])

    def section(name: str, **changes: Any) -> str:
        page = render_page(replace(plain, confidence={**sure, **changes}), split)
        return page[page.index(f'id="{name}"') :].split("</section>")[0]

    shown = section("confidence")
    assert shown.count("<svg") == 2
    assert "asked 4 times" in shown and "Under a confidence of 0.480" in shown and "0.593" in shown
    assert "fitted on 97 validation answers" in shown and "agreement itself by 0.195 before" in shown
    assert section("mistakes").count("<svg") == 1, "the curve over the threshold"
    assert page[page.index('id="mistakes"') :].split("</section>")[0].count("<svg") == 0
    few = section("confidence", calibrated={**worth, "fitted": False, "n": 20, "after": None})
    assert "it is not calibrated, since 20 validation answers have a region and 50 are needed" in few
    unfitted = {**limit, "reached": False, "value": None, "validation": None, "test": None}
    assert "There is no validation split to fit a threshold on." in section("confidence", threshold=unfitted)
    never = {**limit, "reached": False, "value": None, "test": None}
    said = "No threshold reaches a mean box IoU of 0.60 on validation; the best is 0.610."
    assert said in section("confidence", threshold=never)
    silent = {name: value for name, value in sure.items() if name != "confidence"}
    assert "Confidence could not be measured: of the 4 answers" in render_page(replace(plain, confidence=silent), split)
