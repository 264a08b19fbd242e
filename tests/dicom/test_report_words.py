"""What a report says in words and codes: provenance, notice, any script, and what it refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.concepts import SCHEME
from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom.made import ORIGIN, a_finding, a_mask, abstained, make_series, nothing_found, write_report, write_seg
from tests.dicom.reports import children, code, everything, groups, texts, written
from tests.dicom.tools import dciodvfy_errors, need_tool, paths_of


def test_provenance_and_notice_are_there(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    report = written(series, [a_finding(series, {1: a_mask(series)}), nothing_found(series, [0])], tmp_path)
    assert texts(report, "Comment") == [RESEARCH_USE]
    assert (report.CompletionFlag, report.VerificationFlag, report.PreliminaryFlag) == (
        "COMPLETE",
        "UNVERIFIED",
        "PRELIMINARY",
    )
    assert code(report, "Observer Type") == ("121007", "DCM")
    assert texts(report, "Device Observer Name") == ["medreasoner-monai classical"]
    assert texts(report, "Device Observer Serial Number") == ["a1" * 32]
    assert children(report, "Device Observer UID")[0].UID.startswith("2.25.")
    for group in groups(report):
        said = dict(t.split(": ", 1) for t in texts(group, "Algorithm Parameters"))
        assert said["model version"] == "0.3.1"
        for what, digest in (("reasoner", "a1"), ("segmenter", "b2"), ("prompt", "c3")):
            assert said[f"{what} digest"] == digest * 32
        assert said["reward settings digest"] == "d4" * 32 and said["data set digest"] == "e5" * 32
    scheme = report.CodingSchemeIdentificationSequence[0]
    assert scheme.CodingSchemeDesignator == SCHEME


def test_private_codes_are_few_and_documented(tmp_path: Path) -> None:
    documented = (Path(__file__).parents[2] / "docs/dicom-out.md").read_text()
    series = make_series("DX", tmp_path / "in")
    finding = a_finding(series, {0: a_mask(series)}, codes=codes_for("heart"), coded_from="given", stops=("one",))
    report = written(
        series, [finding, nothing_found(series, [0], codes=codes_for("heart")), abstained(series, 0)], tmp_path
    )
    used = {
        item.CodeValue
        for part in everything(report)
        for sequence in ("ConceptNameCodeSequence", "ConceptCodeSequence")
        for item in part.get(sequence, [])
        if item.CodingSchemeDesignator == SCHEME
    }
    assert {"QUESTION", "STATUS", "AT_DETECTOR"} <= used
    assert {value for value in used if f"`{value}`" not in documented} == set()


def test_sizes_on_an_x_ray_say_that_they_are_the_detectors(tmp_path: Path) -> None:
    series = make_series("DX", tmp_path / "in")
    (group,) = groups(written(series, [a_finding(series, {0: a_mask(series)})], tmp_path))
    for size in ("Area", "Long axis", "Short axis"):
        assert code(children(group, size)[0], "Measurement Method") == ("AT_DETECTOR", SCHEME)


@settings(max_examples=12)
@given(
    question=st.text(min_size=1, max_size=300).filter(lambda t: t.strip()),
    trace=st.text(max_size=300),
)
def test_texts_of_any_script_come_back(question: str, trace: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("text")
    series = make_series("MR", folder / "in")
    (group,) = groups(written(series, [a_finding(series, {0: a_mask(series)}, question=question, trace=trace)], folder))

    def printed(text: str) -> str:
        return "".join(c for c in text if c.isprintable() and not c.isspace())

    assert printed("".join(texts(group, "Question asked"))) == printed(question)
    assert printed("".join(texts(group, "Reasoning trace of the model"))) == printed(trace)


def test_thousands_of_characters_in_japanese_arabic_and_emoji_survive_dcmtk(tmp_path: Path) -> None:
    long = "肝臓はどこですか? أين الكبد؟ 👩‍⚕️ " * 150
    series = make_series("MR", tmp_path / "in")
    written(series, [a_finding(series, {0: a_mask(series)}, question=long, trace="één\nregel")], tmp_path)
    out = tmp_path / "sr.xml"
    subprocess.run([need_tool("dsr2xml", "apt-get install dcmtk"), tmp_path / "sr.dcm", out], check=True)
    found = [e.text or "" for e in ET.parse(out).iter("value")]
    assert long.rstrip() in found
    assert any(t.split() == ["één", "regel"] for t in found)


def test_a_labelmaps_segment_is_named_by_number(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    findings = [a_finding(series, {1: a_mask(series, 2 + 8 * i, 9 + 8 * i)}) for i in range(2)]
    report = written(series, findings, tmp_path, kind="labelmap")
    seen = [children(g, "Referenced Segmentation Frame")[0].ReferencedSOPSequence[0] for g in groups(report)]
    assert [i.ReferencedSegmentNumber for i in seen] == [1, 2]
    # The validator predates label maps, and takes the object for something that has no segments.
    assert all("ReferencedSegmentNumber" in e for e in dciodvfy_errors(tmp_path / "sr.dcm"))


def test_a_found_finding_needs_its_segmentation(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    finding, other = (a_finding(series, {1: a_mask(series)}) for _ in range(2))
    with pytest.raises(DicomError, match="build that first and give it"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=None)
    write_seg(series, [other], ORIGIN, tmp_path / "seg.dcm")
    with pytest.raises(DicomError, match="seg.dcm has no segment for 1 of the findings"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=tmp_path / "seg.dcm")
    with pytest.raises(DicomError, match="is not a segmentation"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=paths_of(series)[0])
    with pytest.raises(DicomError, match="at least one finding"):
        write_report(series, [], ORIGIN, tmp_path / "sr.dcm", seg=None)
    assert not (tmp_path / "sr.dcm").exists()


def test_the_same_engines_are_the_same_device(tmp_path: Path) -> None:
    series = make_series("MR", tmp_path / "in")
    uids = []
    for part in ("a", "b"):
        (tmp_path / part).mkdir()
        report = written(series, [a_finding(series, {0: np.ones(series.shape[1:], dtype=bool)})], tmp_path / part)
        uids.append(children(report, "Device Observer UID")[0].UID)
    assert uids[0] == uids[1]
