"""Findings of any status out as a Structured Report: TID 1500, Comprehensive 3D SR (PS3.3 A.35.13, PS3.16 TID 1500)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydicom import Dataset

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom import concepts as c
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.image_library import headers, image_library
from medreasoner_monai.dicom.measures import Measures
from medreasoner_monai.dicom.report_groups import group
from medreasoner_monai.dicom.segments import Segments
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.uids import PLACEHOLDER, identify
from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.findings import Finding, Origin

if TYPE_CHECKING:
    from highdicom.sr import Comprehensive3DSR, ObserverContext

SERIES_BASE = 2_000_000
_SERIES_DESCRIPTION = "Research use only: report on answered questions"


def build_report(
    series: Series,
    findings: Sequence[Finding],
    origin: Origin,
    *,
    seg: Dataset | None,
    measures: Mapping[str, Measures] | None = None,
) -> Comprehensive3DSR:
    """A report with one measurement group per finding; also of findings without a region, which say why.

    It is complete, preliminary and unverified: nobody looked at it yet.

    Parameters
    ----------
    series:
        What the findings were made on.
    findings:
        At least one.
    origin:
        What made them.
    seg:
        The segmentation of the same findings, from :func:`~medreasoner_monai.dicom.seg.build_seg` or a file of it;
        needed when one is found.
    measures:
        Measurements by tracking UID, where the findings were measured already; others are measured here.

    Returns
    -------
    The data set, with UIDs that follow from its content (:mod:`~medreasoner_monai.dicom.uids`);
    :func:`~medreasoner_monai.dicom.saving.save` writes it.

    Raises
    ------
    DicomError
        If there is no finding, a found one has no segment in ``seg``, the key slice's pixels cannot be read, or no
        report can refer to the series.
    """
    if not findings:
        raise DicomError("a report needs at least one finding; one with nothing found will do")
    found = any(f.status == "found" for f in findings)
    if found and seg is None:
        raise DicomError("a found finding is reported with its segmentation; build that first and give it")
    segments = Segments.of(seg) if seg is not None and found else None
    missing = [f for f in findings if segments and f.status == "found" and f.tracking_uid not in segments.numbers]
    if segments and missing:
        raise DicomError(
            f"{segments.name} has no segment for {len(missing)} of the findings; build it from the same findings"
        )
    import highdicom as hd

    looked_at = sorted({s.index for f in findings for s in (*f.slices, *f.candidates)})
    evidence = headers(series, looked_at)
    try:
        content = _content(series, findings, origin, segments, looked_at, measures or {})
        report = hd.sr.Comprehensive3DSR(
            evidence=[*evidence, segments.header] if segments else evidence,
            content=content,
            series_instance_uid=PLACEHOLDER,
            series_number=provenance.series_number(series, SERIES_BASE),
            sop_instance_uid=PLACEHOLDER,
            instance_number=1,
            manufacturer=provenance.MANUFACTURER,
            manufacturer_model_name=provenance.algorithm_name(origin),
            software_versions=provenance.algorithm_version(origin),
            device_serial_number=provenance.serial_number(origin),
            is_complete=True,
            is_final=False,
            is_verified=False,
            series_description=_SERIES_DESCRIPTION,
            specific_character_set=provenance.UTF_8,
            contributing_equipment=provenance.contributing_equipment(origin),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DicomError(
            f"{series.name}: no report can refer to this series ({type(error).__name__}); "
            "export it again, complete with its study and series UIDs"
        ) from error
    report.CodingSchemeIdentificationSequence = [c.scheme_item()]
    identify(report, "report")
    return report


def _content(
    series: Series,
    findings: Sequence[Finding],
    origin: Origin,
    segments: Segments | None,
    looked_at: Sequence[int],
    measures: Mapping[str, Measures],
) -> Dataset:
    import highdicom.sr as sr

    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_device(origin)),
        procedure_reported=sr.CodedConcept(*c.procedure(series.modality)),
        imaging_measurements=[group(series, f, origin, segments, measures.get(f.tracking_uid)) for f in findings],
    )
    root = report[0]
    notice = sr.TextContentItem(sr.CodedConcept(*c.COMMENT), RESEARCH_USE, relationship_type="CONTAINS")
    # The template has the library before the measurements.
    root.ContentSequence.insert(len(root.ContentSequence) - 1, image_library(series, looked_at))
    root.ContentSequence.append(notice)
    _separate(root)
    return root


def _separate(container: Dataset) -> None:
    """Say that a container's items are no running text (PS3.3 C.17.3.2.5): viewers then name each."""
    if container.ValueType == "CONTAINER":
        container.ContinuityOfContent = "SEPARATE"
        for item in container.get("ContentSequence", ()):
            _separate(item)


def _device(origin: Origin) -> ObserverContext:
    import highdicom.sr as sr

    return sr.ObserverContext(
        observer_type=sr.CodedConcept("121007", "DCM", "Device"),
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=provenance.device_uid(origin),
            name=provenance.algorithm_name(origin),
            manufacturer_name=provenance.MANUFACTURER,
            model_name=provenance.algorithm_version(origin),
            serial_number=provenance.serial_number(origin),
        ),
    )
