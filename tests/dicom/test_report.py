"""The report is read back by highdicom, by DCMTK and item by item by pydicom."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import highdicom as hd
import nrrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.data.taxonomy import codes_for
from medreasoner_monai.dicom.concepts import SCHEME
from medreasoner_monai.dicom.measures import measure
from medreasoner_monai.dicom.report import write_report
from medreasoner_monai.dicom.seg import SegKind, write_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import DicomError
from medreasoner_monai.findings import Finding
from tests.dicom.made import (
    KINDS,
    ORIGIN,
    QUESTION,
    TRACE,
    a_finding,
    a_mask,
    abstained,
    make_series,
    nothing_found,
)
from tests.dicom.tools import dciodvfy_errors, need_ct, need_tool


def written(series: Series, findings: list[Finding], folder: Path, kind: SegKind = "binary") -> Dataset:
    """The report of these findings, read by pydicom."""
    seg = None
    if any(f.status == "found" for f in findings):
        seg = folder / "seg.dcm"
        write_seg(series, findings, ORIGIN, seg, kind=kind)
    write_report(series, findings, ORIGIN, folder / "sr.dcm", seg=seg)
    return dcmread(folder / "sr.dcm")


def name(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeMeaning)


def children(item: Dataset, meaning: str) -> list[Dataset]:
    return [c for c in item.get("ContentSequence", []) if name(c) == meaning]


def groups(report: Dataset) -> list[Dataset]:
    return children(children(report, "Imaging Measurements")[0], "Measurement Group")


def everything(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        yield child
        yield from everything(child)


def texts(item: Dataset, meaning: str) -> list[str]:
    return [str(c.TextValue) for c in children(item, meaning)]


def code(item: Dataset, meaning: str) -> tuple[str, str]:
    value = children(item, meaning)[0].ConceptCodeSequence[0]
    return value.CodeValue, value.CodingSchemeDesignator


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source_gives_a_valid_report(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path / "in")
    last = len(series) - 1
    findings = [
        a_finding(series, {last: a_mask(series), 0: a_mask(series, 1, 3)}, codes=codes_for("left kidney")),
        a_finding(series, {0: a_mask(series)}, codes=codes_for("liver tumor"), confidence=0.7),
        nothing_found(series, [0]),
        abstained(series, last),
    ]
    report = written(series, findings, tmp_path)
    path = tmp_path / "sr.dcm"
    assert dciodvfy_errors(path) == []
    assert subprocess.run([need_tool("dcmftest", "apt-get install dcmtk"), path], capture_output=True).returncode == 0
    # DCMTK checks the value types and relationships that a Comprehensive SR may have.
    dump = subprocess.run([need_tool("dsrdump", "apt-get install dcmtk"), path], capture_output=True, text=True)
    assert dump.returncode == 0 and "E:" not in dump.stderr, dump.stderr
    assert len(groups(report)) == 4
    known = {i.ReferencedSOPInstanceUID for i in evidence(report)}
    for item in everything(report):
        if item.ValueType == "IMAGE":
            assert item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID in known


def evidence(report: Dataset) -> list[Dataset]:
    return [
        instance
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]


def test_a_volume_is_read_back_by_highdicom(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    finding = a_finding(series, {1: a_mask(series), 2: a_mask(series, 3, 12)}, codes=codes_for("left kidney"))
    written(series, [finding], tmp_path)
    report = hd.sr.srread(tmp_path / "sr.dcm")
    assert isinstance(report, hd.sr.ComprehensiveSR)
    (group,) = report.content.get_volumetric_roi_measurement_groups()
    assert report.content.get_planar_roi_measurement_groups() == []
    assert group.tracking_uid == finding.tracking_uid
    assert group.finding_type == codes.SCT.Kidney
    (site,) = group.finding_sites
    assert site.value == codes.SCT.Kidney and site.laterality == codes.SCT.Left
    segment = group.referenced_segment
    seg = dcmread(tmp_path / "seg.dcm")
    assert segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert segment.referenced_segment_numbers == [1]
    sources = {i.referenced_sop_instance_uid for i in segment.source_images_for_segmentation}
    assert sources == {series.sop_instance_uid(1), series.sop_instance_uid(2)}

    measures = measure(series, finding)
    read = {(m.name.meaning, m.derivation.meaning if m.derivation else ""): m for m in group.get_measurements()}
    wanted = {
        ("Volume", ""): (measures.volume_ml, "ml"),
        ("Area", ""): (measures.area_mm2, "mm2"),
        ("Long axis", ""): (measures.long_mm, "mm"),
        ("Short axis", ""): (measures.short_mm, "mm"),
        ("Attenuation Coefficient", "Mean"): (measures.mean, "[hnsf'U]"),
        ("Attenuation Coefficient", "Standard Deviation"): (measures.sd, "[hnsf'U]"),
        ("Attenuation Coefficient", "Minimum"): (measures.minimum, "[hnsf'U]"),
        ("Attenuation Coefficient", "Maximum"): (measures.maximum, "[hnsf'U]"),
    }
    assert read.keys() == wanted.keys()
    for key, (value, unit) in wanted.items():
        assert read[key].value == pytest.approx(value, rel=1e-6) and read[key].unit.value == unit
    on_key = [m for m in read.values() if m.name.meaning != "Volume"]
    assert {m.referenced_images[0].referenced_sop_instance_uid for m in on_key} == {series.sop_instance_uid(2)}


def test_the_reference_organs_of_a_real_ct_are_measured_as_by_hand(tmp_path: Path) -> None:
    folder = need_ct()
    series = choose_series(folder)
    findings, volumes = [], []
    for organ, name in (("liver", "liver"), ("spine", "vertebra"), ("heart", "heart")):
        data, header = nrrd.read(str(folder / f"segmentations/{organ}_seg.nrrd"))
        masks = {i: data[..., i].T > 0 for i in range(data.shape[2]) if data[..., i].any()}
        findings.append(a_finding(series, masks, codes=codes_for(name)))
        volumes.append((data > 0).sum() * abs(np.linalg.det(header["space directions"])) / 1000)
    report = written(series, findings, tmp_path)
    assert dciodvfy_errors(tmp_path / "sr.dcm") == []
    for group, finding, volume in zip(groups(report), findings, volumes, strict=True):
        if len(finding.marked) > 1:
            value = children(group, "Volume")[0].MeasuredValueSequence[0].NumericValue
            assert float(value) == pytest.approx(volume, rel=1e-3)
        dataset, _ = series.load(finding.key)
        units = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        mean = children(group, "Attenuation Coefficient")[0].MeasuredValueSequence[0].NumericValue
        assert float(mean) == pytest.approx(units[finding.marked[finding.key]].mean(), rel=1e-5)


def test_one_slice_is_a_planar_group_that_names_the_segmentations_frame(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    findings = [a_finding(series, {i: a_mask(series)}, codes=codes_for("liver tumor")) for i in (2, 0)]
    written(series, findings, tmp_path)
    seg = dcmread(tmp_path / "seg.dcm")
    read = hd.sr.srread(tmp_path / "sr.dcm").content.get_planar_roi_measurement_groups()
    assert [g.finding_sites[0].value.meaning for g in read] == ["Liver", "Liver"]
    for group, finding in zip(read, findings, strict=True):
        assert all(m.name.meaning != "Volume" for m in group.get_measurements())
        (item,) = group.referenced_segmentation_frame[0].ReferencedSOPSequence
        assert item.ReferencedSOPInstanceUID == seg.SOPInstanceUID
        place = seg.PerFrameFunctionalGroupsSequence[int(item.ReferencedFrameNumber) - 1]
        source = place.DerivationImageSequence[0].SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == series.sop_instance_uid(finding.key)
        number = place.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert seg.SegmentSequence[number - 1].TrackingUID == finding.tracking_uid


def test_a_clip_is_reported_on_its_key_frame(tmp_path: Path) -> None:
    series = make_series("US, clip", tmp_path / "in")
    report = written(series, [a_finding(series, {1: a_mask(series), 3: a_mask(series, 2, 12)})], tmp_path)
    (group,) = groups(report)
    box = children(group, "Box of the answer")[0]
    image = box.ContentSequence[0].ReferencedSOPSequence[0]
    assert image.ReferencedSOPInstanceUID == series.sop_instance_uid(3) and image.ReferencedFrameNumber == 4
    frame = children(group, "Referenced Segmentation Frame")[0].ReferencedSOPSequence[0].ReferencedFrameNumber
    assert int(frame) == 2, "the segmentation's second frame shows the clip's fourth"


def test_box_and_points_stand_on_the_key_image_in_its_columns_and_rows(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    finding = a_finding(series, {2: a_mask(series)})
    (group,) = groups(written(series, [finding], tmp_path))
    box, points = children(group, "Box of the answer")[0], children(group, "Points of the answer")[0]
    assert box.GraphicType == "POLYLINE" and points.GraphicType == "MULTIPOINT"
    assert list(box.GraphicData) == [1.5, 2.25, 29, 2.25, 29, 20, 1.5, 20, 1.5, 2.25]
    assert list(points.GraphicData) == [8, 6, 16, 12.5]
    for item in (box, points):
        image = item.ContentSequence[0]
        assert image.RelationshipType == "SELECTED FROM"
        assert image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == series.sop_instance_uid(2)


def test_question_trace_confidence_and_status_are_said(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    stops = ("reached the first slice", "stopped before slice 2: overlap 0.21 with the last mask, 0.4 is asked for")
    finding = a_finding(
        series, {1: a_mask(series)}, codes=codes_for("liver"), coded_from="trace", confidence=0.8125, stops=stops
    )
    (group,) = groups(written(series, [finding], tmp_path))
    assert texts(group, "Question asked") == [QUESTION]
    assert texts(group, "Reasoning trace of the model") == [TRACE]
    assert texts(group, "Where and why the carried mask ends") == list(stops)
    assert code(group, "Status of the answer") == ("FOUND", SCHEME)
    assert code(group, "Where the codes come from") == ("FROM_TRACE", SCHEME)
    certainty = children(group, "Certainty of Finding")[0].MeasuredValueSequence[0]
    assert float(certainty.NumericValue) == 81.25 and certainty.MeasurementUnitsCodeSequence[0].CodeValue == "%"


def test_findings_without_a_region_say_so_and_refer_to_the_images_looked_at(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    nothing, unsure = nothing_found(series, [0, 2], codes=codes_for("spleen")), abstained(series, 1)
    report = written(series, [nothing, unsure], tmp_path)
    assert not (tmp_path / "seg.dcm").exists()
    assert all(i.get("ValueType") != "IMAGE" or "SEG" not in str(i) for i in everything(report))
    first, second = groups(report)
    assert code(first, "Status of the answer") == ("NOTHING_FOUND", SCHEME)
    assert code(second, "Status of the answer") == ("ABSTAINED", SCHEME)
    assert texts(first, "Why there is no region") == ["the model found nothing"]
    assert texts(second, "Why there is no region") == ["not sure enough to answer"]
    assert code(first, "What was asked for") == ("78961009", "SCT")
    assert children(first, "Finding") == [], "a spleen that was not found is no finding"
    looked_at = [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in children(first, "Source of Measurement")]
    assert looked_at == [series.sop_instance_uid(0), series.sop_instance_uid(2)]
    assert len(evidence(report)) == 3
    read = hd.sr.srread(tmp_path / "sr.dcm").content.get_image_measurement_groups()
    assert [g.tracking_uid for g in read] == [nothing.tracking_uid, unsure.tracking_uid]


def test_the_library_has_only_the_images_looked_at(tmp_path: Path) -> None:
    series = make_series("CT, oblique and not square", tmp_path / "in")
    report = written(series, [a_finding(series, {1: a_mask(series), 3: a_mask(series)})], tmp_path)
    (library,) = children(report, "Image Library")
    (shared,) = children(library, "Image Library Group")
    images = children(shared, "Source")
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == [
        series.sop_instance_uid(1),
        series.sop_instance_uid(3),
    ]
    assert code(shared, "Modality") == ("CT", "DCM")
    across = children(shared, "Horizontal Pixel Spacing")[0].MeasuredValueSequence[0].NumericValue
    assert float(across) == 1.25
    height = children(images[1], "Image Position (Patient) Z")[0].MeasuredValueSequence[0].NumericValue
    assert float(height) == pytest.approx(36)


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
    with pytest.raises(DicomError, match="write that first and give its path"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=None)
    write_seg(series, [other], ORIGIN, tmp_path / "seg.dcm")
    with pytest.raises(DicomError, match="has no segment for 1 of the findings"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=tmp_path / "seg.dcm")
    with pytest.raises(DicomError, match="is no segmentation"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=series.paths[0])
    with pytest.raises(DicomError, match="cannot be read as DICOM"):
        write_report(series, [finding], ORIGIN, tmp_path / "sr.dcm", seg=Path(__file__))
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
