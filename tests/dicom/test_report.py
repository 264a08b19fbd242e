"""The report is read back by highdicom, by DCMTK and item by item by pydicom."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import highdicom as hd
import nrrd
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.codedict import codes

from medreasoner_monai.dicom.concepts import SCHEME
from medreasoner_monai.dicom.coverage import with_coverage
from medreasoner_monai.dicom.measures import measure
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.findings import Flag, SliceResult
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom.made import (
    KINDS,
    QUESTION,
    TRACE,
    a_finding,
    a_mask,
    abstained,
    make_series,
    nothing_found,
)
from tests.dicom.reports import children, code, everything, evidence, groups, texts, written
from tests.dicom.tools import dciodvfy_errors, need_ct, need_tool


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


def test_a_volume_is_read_back_by_highdicom(tmp_path: Path) -> None:
    series = make_series("CT, oblique and not square", tmp_path / "in")
    nothing = np.zeros(series.shape[1:], dtype=bool)
    masks = {0: nothing, 1: a_mask(series), 2: a_mask(series, 3, 12), 3: nothing}
    finding = a_finding(series, masks, codes=codes_for("left kidney"))
    written(series, [finding], tmp_path)
    report = hd.sr.srread(tmp_path / "sr.dcm")
    assert isinstance(report, hd.sr.Comprehensive3DSR)
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
    findings, areas = [], []
    for organ, name in (("liver", "liver"), ("spine", "vertebra"), ("heart", "heart")):
        data, header = nrrd.read(str(folder / f"segmentations/{organ}_seg.nrrd"))
        masks = {i: data[..., i].T > 0 for i in range(data.shape[2]) if data[..., i].any()}
        findings.append(a_finding(series, masks, codes=codes_for(name)))
        row, column = (np.linalg.norm(v) for v in header["space directions"][:2])
        areas.append((data[..., findings[-1].key] > 0).sum() * row * column)
    report = written(series, findings, tmp_path)
    assert dciodvfy_errors(tmp_path / "sr.dcm") == []
    for group, finding, area in zip(groups(report), findings, areas, strict=True):
        # Three slices hold no whole organ: each reaches the first or the last of them.
        assert children(group, "Volume") == [] and code(group, "Region known to be whole") == ("373067005", "SCT")
        assert "it reaches the" in texts(group, "How far the region was looked for")[0]
        value = children(group, "Area")[0].MeasuredValueSequence[0].NumericValue
        assert float(value) == pytest.approx(area, rel=1e-3)
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
    assert texts(group, "Comment") == [
        "The name of the region was read from the model's reasoning, and nobody confirmed it."
    ]
    agreement = children(group, "Agreement of the model's answers, not calibrated")[0].MeasuredValueSequence[0]
    assert float(agreement.NumericValue) == 81.25 and agreement.MeasurementUnitsCodeSequence[0].CodeValue == "%"
    assert children(group, "Certainty of Finding") == []


def test_certainty_in_the_sense_of_dicom_is_a_calibrated_confidence_only(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    findings = [
        a_finding(series, {1: a_mask(series)}, confidence=0.5, confidence_kind=kind)
        for kind in ("calibrated", "agreement", "")
    ]
    read = groups(written(series, findings, tmp_path))
    names = ("Certainty of Finding", "Agreement of the model's answers, not calibrated")
    assert [[bool(children(group, name)) for name in names] for group in read] == [
        [True, False],
        [False, True],
        [False, False],
    ]
    said = [t for group in read for t in texts(group, "Algorithm Parameters") if t.startswith("confidence: ")]
    assert said == [
        "confidence: calibrated on validation data to the overlap that it predicts",
        "confidence: agreement of several answers on the slice, not calibrated",
    ]


def test_every_reason_for_caution_and_the_coverage_are_said(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    flags = (Flag("side", "Question and region are on different sides."), Flag("name", "The reasoning is uncertain."))
    finding = with_coverage(series, a_finding(series, {1: a_mask(series)}, flags=flags))
    (group,) = groups(written(series, [finding], tmp_path))
    cautions = texts(group, "Reason for caution")
    assert cautions[:2] == [flag.text for flag in flags]
    assert cautions[2].startswith("The region may not be whole: the slice before it was not looked at")
    (said,) = texts(group, "How far the region was looked for")
    assert said == (
        "Asked on 1 of 3 slices, marked on 1. The region may not be whole: the slice before it was not looked at; "
        "the slice behind it was not looked at."
    )


def test_slices_that_were_asked_and_given_up_are_evidence_too(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    finding = a_finding(series, {1: a_mask(series)})
    given_up = SliceResult(0, None, str(Reason.NOTHING_FOUND), None, 0.1)
    report = written(series, [replace(finding, candidates=(given_up, *finding.slices))], tmp_path)
    assert series.sop_instance_uid(0) in {i.ReferencedSOPInstanceUID for i in evidence(report)}


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
