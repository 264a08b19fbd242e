"""Calibrated confidence in a finding: where it applies, what it is called, and what a threshold is held against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.grounding.record import answer_record
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.task.answer import Reason
from tests.dicom.tools import make_ct
from tests.grounding.fakes import MiddleReasoner, grounder

HALF = Calibration((0.0, 1.0), (0.0, 0.5), answers=4, temperature=0.7, n=100)
"""Box IoU is half of what the answers agree."""
SETTINGS = GroundingSettings(answers=4, calibration=HALF)
AGREEMENT = 18 / 22
"""Of boxes 20 wide of which every other one lies 4 further right, with the median box."""


@pytest.fixture
def series(tmp_path: Path) -> Series:
    make_ct(tmp_path / "ct", 1)
    return choose_series(tmp_path / "ct")


def ask(series: Series, settings: GroundingSettings, reasoner: MiddleReasoner | None = None) -> GroundingResult:
    return grounder(reasoner or MiddleReasoner(spread=0.1)).ground(series, "Which?", settings=settings)


def test_a_region_has_the_expected_overlap_as_its_confidence(series: Series) -> None:
    result = ask(series, SETTINGS)
    (finding,) = result.findings
    assert finding.shown.confidence == pytest.approx(AGREEMENT / 2, abs=1e-2)
    assert finding.confidence_kind == "calibrated"
    assert result.origin.digests["calibration"] == HALF.digest
    record = answer_record(result)
    assert record["findings"][0]["confidence_kind"] == "calibrated"
    assert record["digests"]["calibration"] == HALF.digest


def test_the_threshold_is_an_expected_overlap_too(series: Series) -> None:
    (given,) = ask(series, replace(SETTINGS, threshold=0.4)).findings
    (kept,) = ask(series, replace(SETTINGS, threshold=0.45)).findings
    assert given.status == "found"
    assert (kept.status, kept.confidence_kind) == ("abstained", "calibrated")


@pytest.mark.parametrize("drawn", [{"answers": 8}, {"temperature": 1.0}])
def test_answers_drawn_in_another_way_are_not_called_calibrated(series: Series, drawn: dict[str, float]) -> None:
    settings = replace(SETTINGS, threshold=0.4, **drawn)  # type: ignore[arg-type]
    result = ask(series, settings)
    (finding,) = result.findings
    assert finding.shown.confidence == pytest.approx(AGREEMENT, abs=1e-2)
    assert finding.confidence_kind == "agreement" and "calibration" not in result.origin.digests
    # An expected overlap of 0.45 needs an agreement of 0.9.
    assert replace(settings, threshold=0.45).applied_threshold == pytest.approx(0.9)
    (kept,) = ask(series, replace(settings, threshold=0.45)).findings
    assert finding.status == "found" and kept.status == "abstained"


def test_that_there_is_nothing_has_a_share_of_votes_not_an_overlap(series: Series) -> None:
    silent = MiddleReasoner(least=9999, otherwise=Reason.NOTHING_FOUND)
    (finding,) = ask(series, SETTINGS, silent).findings
    assert (finding.shown.confidence, finding.confidence_kind) == (1.0, "agreement")


def test_a_single_answer_has_no_confidence(series: Series) -> None:
    (finding,) = ask(series, replace(SETTINGS, answers=1)).findings
    assert (finding.shown.confidence, finding.confidence_kind) == (None, "")


def test_another_reasoner_keeps_the_threshold_as_an_agreement() -> None:
    other = replace(SETTINGS, threshold=0.45).without_calibration()
    assert other.calibration is None and other.threshold == pytest.approx(0.9)
    assert GroundingSettings(threshold=0.45).without_calibration() == GroundingSettings(threshold=0.45)
