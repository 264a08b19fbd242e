"""Results for eleven kinds of source satisfy IHE AI Results as docs/air.md reads it, and other readers agree."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from medreasoner_monai.dicom.coverage import with_coverage
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Engine, Finding
from medreasoner_monai.task.taxonomy import codes_for
from tests.dicom import air
from tests.dicom.air_sources import SOURCES
from tests.dicom.made import ORIGIN, a_finding, a_mask, nothing_found, write_capture, write_report, write_seg
from tests.dicom.tools import dciodvfy_errors, need_tool


class Written(NamedTuple):
    series: Series
    findings: list[Finding]
    seg: Path
    report: Path
    capture: Path

    def read(self) -> tuple[Dataset, list[Dataset], list[Dataset]]:
        """Report, other objects, sources."""
        return dcmread(self.report), [dcmread(self.seg), dcmread(self.capture)], list(self.series.headers)


def findings_on(series: Series) -> list[Finding]:
    """One region on all inner slices of a stack (or the one image), one on the last, and one that was not found."""
    last = len(series) - 1
    inner = range(1, last) if last > 1 else range(1)
    masks = {i: a_mask(series, 2, 7) if i in inner else np.zeros(series.shape[1:], bool) for i in range(last + 1)}
    found = [
        a_finding(series, masks, codes=codes_for("liver tumor"), coded_from="given", confidence=0.75),
        a_finding(series, {last: a_mask(series, 1, 6)}),
        nothing_found(series, [0], codes=codes_for("left kidney")),
    ]
    return [with_coverage(series, one) for one in found]


def write(series: Series, folder: Path) -> Written:
    findings = findings_on(series)
    out = Written(series, findings, folder / "seg.dcm", folder / "sr.dcm", folder / "sc.dcm")
    write_seg(series, findings, ORIGIN, out.seg)
    write_report(series, findings, ORIGIN, out.report, seg=out.seg)
    picture = Image.new("RGB", (40, 50), "white")
    write_capture(series, picture, out.capture, key=0, keys=[f.key for f in findings], origin=ORIGIN)
    return out


@pytest.fixture(scope="module", params=SOURCES, ids=str)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("air")
    (folder / "in").mkdir()
    return write(SOURCES[request.param](folder / "in"), folder)


def test_the_profile_is_satisfied(written: Written) -> None:
    assert air.problems(*written.read()) == []


def test_validators_find_no_error(written: Written) -> None:
    for path in (written.seg, written.report, written.capture):
        assert dciodvfy_errors(path) == []
        done = subprocess.run([need_tool("dcmftest", "apt-get install dcmtk"), path], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout
    dump = subprocess.run(
        [need_tool("dsrdump", "apt-get install dcmtk"), written.report], capture_output=True, text=True
    )
    assert dump.returncode == 0 and "E:" not in dump.stderr, dump.stderr


def test_highdicom_reads_the_groups_and_the_masks(written: Written) -> None:
    report = hd.sr.srread(written.report)
    assert isinstance(report, hd.sr.Comprehensive3DSR)
    content = report.content
    read = [
        *content.get_volumetric_roi_measurement_groups(),
        *content.get_planar_roi_measurement_groups(),
        *content.get_image_measurement_groups(),
    ]
    assert {g.tracking_uid for g in read} == {f.tracking_uid for f in written.findings}
    seg = hd.seg.segread(written.seg)
    for number, finding in enumerate(written.findings[:2], 1):
        assert seg.get_segment_description(number).tracking_uid == finding.tracking_uid
    voxels = sum(f.voxels for f in written.findings)
    assert int(np.count_nonzero(seg.pixel_array)) == voxels


def test_dcmqi_reads_the_same_voxels_where_they_lie_in_space(written: Written, tmp_path: Path) -> None:
    if not written.series.has_frame_of_reference:
        pytest.skip("dcmqi reads segmentations that lie in space")
    import nrrd

    tool = need_tool("segimage2itkimage", "pip install dcmqi")
    command = [tool, "--inputDICOM", written.seg, "--outputDirectory", tmp_path, "-t", "nrrd"]
    subprocess.run(command, check=True, capture_output=True)
    read = [nrrd.read(str(file))[0] for file in sorted(tmp_path.glob("*.nrrd"), key=lambda f: int(f.stem))]
    assert [int((r > 0).sum()) for r in read] == [f.voxels for f in written.findings[:2]]


def test_dcmqi_reads_every_group_and_the_measurements_of_a_volume(written: Written, tmp_path: Path) -> None:
    volumetric = [f for f in written.findings if len(f.marked) > 1 and written.series.has_frame_of_reference]
    out = tmp_path / "measurements.json"
    tool = need_tool("tid1500reader", "pip install dcmqi")
    subprocess.run([tool, "--inputDICOM", written.report, "--outputMetadata", out], check=True, capture_output=True)
    read = {g["TrackingUniqueIdentifier"]: g for g in json.loads(out.read_text())["Measurements"]}
    assert read.keys() == {f.tracking_uid for f in written.findings}
    for finding in volumetric:
        group = read[finding.tracking_uid]
        assert group["ReferencedSegment"] == 1
        assert group["segmentationSOPInstanceUID"] == dcmread(written.seg).SOPInstanceUID
        values = {i["quantity"]["CodeMeaning"]: float(i["value"]) for i in group["measurementItems"]}
        rows, columns = (float(v) for v in written.series.spacing or ())
        assert values["Area"] == pytest.approx(5 * 4 * rows * columns, rel=1e-5)
        distance = written.series.slice_distance or 0
        assert values["Volume"] == pytest.approx(finding.voxels * rows * columns * distance / 1000, rel=1e-5)


def test_every_requirement_of_the_table_is_checked_and_every_check_is_in_the_table() -> None:
    root = Path(__file__).parents[2]
    table = set(re.findall(r"^\| `([A-Z]+)` \|", (root / "docs/air.md").read_text(), re.MULTILINE))
    checked = set(re.findall(r'f?"([A-Z]+): ', Path(air.__file__).read_text()))
    assert table == checked


def _drop(keyword: str) -> Callable[[Dataset, list[Dataset]], None]:
    return lambda report, others: [delattr(i, keyword) for i in report.ContributingEquipmentSequence if keyword in i]  # type: ignore[return-value]


def _another_class(report: Dataset, others: list[Dataset]) -> None:
    report.SOPClassUID = "1.2.840.10008.5.1.4.1.1.88.33"


def _another_segmentation(report: Dataset, others: list[Dataset]) -> None:
    others[0].SOPInstanceUID = others[0].file_meta.MediaStorageSOPInstanceUID = generate_uid()


def _another_patient(report: Dataset, others: list[Dataset]) -> None:
    others[0].PatientID = "somebody else"


def _another_name(report: Dataset, others: list[Dataset]) -> None:
    others[0].SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "1"


def _no_tracking(report: Dataset, others: list[Dataset]) -> None:
    group = air.groups(report)[0]
    group.ContentSequence = [i for i in group.ContentSequence if air.name(i) != air.TRACKING_UID]


def _no_algorithm(report: Dataset, others: list[Dataset]) -> None:
    for group in air.groups(report):
        group.ContentSequence = [i for i in group.ContentSequence if air.name(i) != air.VERSION]


def _no_finding(report: Dataset, others: list[Dataset]) -> None:
    group = air.groups(report)[1]
    group.ContentSequence = [i for i in group.ContentSequence if air.name(i) != air.FINDING]
    others.clear()


def _less_evidence(report: Dataset, others: list[Dataset]) -> None:
    del report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[-1]


def _no_unit(report: Dataset, others: list[Dataset]) -> None:
    (item, *_) = [i for i in air.everything(report) if i.ValueType == "NUM"]
    item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodingSchemeDesignator = "99OWN"


def _no_template(report: Dataset, others: list[Dataset]) -> None:
    air.groups(report)[0].ContentTemplateSequence[0].TemplateIdentifier = "9999"


def _manual(report: Dataset, others: list[Dataset]) -> None:
    others[0].SegmentSequence[0].SegmentAlgorithmType = "MANUAL"


def _coordinates_of_nothing(report: Dataset, others: list[Dataset]) -> None:
    (item, *_) = [i for i in air.everything(report) if i.ValueType == "SCOORD"]
    item.ContentSequence = []


def _no_meaning(report: Dataset, others: list[Dataset]) -> None:
    (item, *_) = [i for i in air.everything(air.groups(report)[0]) if i.ValueType == "CODE"]
    item.ConceptCodeSequence[0].CodeMeaning = ""


@pytest.mark.parametrize(
    ("spoil", "requirement"),
    [
        (_another_class, "ROOT"),
        (_drop("DeviceUID"), "EQUIPMENT"),
        (_drop("SoftwareVersions"), "EQUIPMENT"),
        (_another_patient, "CONTEXT"),
        (_another_segmentation, "REGION"),
        (_another_name, "REGION"),
        (_no_tracking, "TRACKING"),
        (_no_algorithm, "ALGORITHM"),
        (_no_finding, "FINDING"),
        (_less_evidence, "EVIDENCE"),
        (_no_unit, "MEASUREMENT"),
        (_no_template, "GROUP"),
        (_manual, "SEG"),
        (_coordinates_of_nothing, "LOCATION"),
        (_no_meaning, "QUALITATIVE"),
    ],
)
def test_the_checker_notices(spoil: Callable[[Dataset, list[Dataset]], None], requirement: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    report, others, sources = write(SOURCES["MR"](tmp_path / "in"), tmp_path).read()
    spoil(report, others)
    assert any(f"{requirement}: " in one for one in air.problems(report, others, sources))


def test_each_trained_version_is_a_device_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    series = SOURCES["MR"](tmp_path / "in")
    finding = a_finding(series, {0: a_mask(series)})
    seen = []
    for number, digest in enumerate(("a1" * 32, "f6" * 32)):
        origin = replace(ORIGIN, reasoner=Engine("starter", digest))
        seg, report = tmp_path / f"seg{number}.dcm", tmp_path / f"sr{number}.dcm"
        write_seg(series, [finding], origin, seg)
        write_report(series, [finding], origin, report, seg=seg)
        read = dcmread(report)
        (observer,) = air.children(read, air.DEVICE_UID)
        devices = {i.DeviceUID for i in read.ContributingEquipmentSequence if "DeviceUID" in i}
        assert observer.UID in devices
        seen.append((observer.UID, {t.TextValue for g in air.groups(read) for t in air.children(g, air.VERSION)}))
    assert seen[0][0] != seen[1][0] and not seen[0][1] & seen[1][1]
