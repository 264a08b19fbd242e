"""The same answer is the same object; any other answer is another one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.uid import UID

from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.capture import build_capture
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.uids import derived_uid, identify
from medreasoner_monai.task.findings import Engine, Finding, Flag, Origin
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom.made import KINDS, ORIGIN, a_finding, a_mask, make_series

TRAINED_ON = replace(ORIGIN, reasoner=Engine("starter", "f6" * 32))


def uids(series: Series, findings: list[Finding], origin: Origin = ORIGIN, picture: str = "white") -> list[str]:
    """SOP Instance and Series Instance UIDs of SEG, report and capture."""
    seg = build_seg(series, findings, origin)
    report = build_report(series, findings, origin, seg=seg)
    keys = [f.key for f in findings]
    capture = build_capture(series, Image.new("RGB", (20, 30), picture), keys=keys, origin=origin)
    objects: list[Dataset] = [seg, report, capture]
    for one in objects:
        assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    return [str(uid) for one in objects for uid in (one.SOPInstanceUID, one.SeriesInstanceUID)]


@pytest.mark.parametrize("kind", KINDS)
def test_answering_again_gives_the_same_objects(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    findings = [a_finding(series, {0: a_mask(series), len(series) - 1: a_mask(series, 3, 12)}, confidence=0.5)]
    once, again = uids(series, findings), uids(series, findings)
    assert once == again
    assert len(set(once)) == 6 and all(UID(uid).is_valid and uid.startswith("2.25.") for uid in once)


def _with_another_mask(series: Series, finding: Finding) -> Finding:
    mask = a_mask(series)
    mask[8, 3] = False
    return replace(finding, slices=(replace(finding.slices[0], mask=mask),))


@pytest.mark.parametrize(
    "change",
    [
        _with_another_mask,
        lambda _, f: replace(f, question="Another question?"),
        lambda _, f: replace(f, codes=codes_for("liver"), coded_from="given"),
        lambda _, f: replace(f, tracking_uid="2.25.7"),
    ],
    ids=["one pixel", "question", "codes", "tracking UID"],
)
def test_another_answer_is_another_seg_and_report(change: Callable[[Series, Finding], Finding], tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path)
    finding = a_finding(series, {1: a_mask(series)})
    before, after = uids(series, [finding]), uids(series, [change(series, finding)])
    assert not set(before[:4]) & set(after[:4])


def test_a_flag_changes_the_report_alone(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path)
    finding = a_finding(series, {1: a_mask(series)})
    flagged = replace(finding, flags=(Flag("side", "The side is not known."),))
    before, after = uids(series, [finding]), uids(series, [flagged])
    assert before[:2] == after[:2] and before[4:] == after[4:] and not set(before[2:4]) & set(after[2:4])


def test_another_picture_is_another_capture(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path)
    finding = a_finding(series, {1: a_mask(series)})
    assert uids(series, [finding])[4:] != uids(series, [finding], picture="black")[4:]


def test_a_model_that_was_trained_on_is_another_device_and_makes_other_objects(tmp_path: Path) -> None:
    series = make_series("MR", tmp_path)
    finding = a_finding(series, {0: a_mask(series)})
    assert not set(uids(series, [finding])) & set(uids(series, [finding], TRAINED_ON))
    assert provenance.device_uid(ORIGIN) != provenance.device_uid(TRAINED_ON)
    assert provenance.algorithm_version(ORIGIN) != provenance.algorithm_version(TRAINED_ON)


def test_the_same_region_in_another_series_is_another_object(tmp_path: Path) -> None:
    one, two = (make_series("CT, three slices", tmp_path / name) for name in "ab")
    finding = a_finding(one, {1: a_mask(one)})
    assert not set(uids(one, [finding])) & set(uids(two, [finding]))


def test_when_it_was_written_does_not_count_and_is_still_said(tmp_path: Path) -> None:
    series = make_series("MR", tmp_path)
    seg = build_seg(series, [a_finding(series, {0: a_mask(series)})], ORIGIN)
    before = seg.SOPInstanceUID
    assert seg.ContentDate and seg.ContentTime
    seg.ContentDate, seg.ContentTime = "19991231", "235959"
    identify(seg, "seg")
    assert seg.SOPInstanceUID == before


def test_derived_uids_are_uuids_of_version_5_and_parts_do_not_run_together() -> None:
    number = int(derived_uid("finding", "a", "bc").removeprefix("2.25."))
    assert uuid.UUID(int=number).version == 5
    assert derived_uid("finding", "a", "bc") != derived_uid("finding", "ab", "c")
