"""Reading a written report item by item, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydicom import Dataset, dcmread

from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.task.findings import Finding
from tests.dicom.made import ORIGIN, write_report, write_seg


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


def evidence(report: Dataset) -> list[Dataset]:
    return [
        instance
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    ]
