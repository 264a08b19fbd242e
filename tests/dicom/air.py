"""What IHE's AI Results profile asks of an Evidence Creator, checked on written files with pydicom alone.

Each check yields what is wrong, in front the requirement's name in ``docs/air.md``. Nothing of the package is used.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from pydicom import Dataset
from pydicom.uid import UID

COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
PROCESSING_EQUIPMENT = ("109102", "DCM")
TRACKING_ID, TRACKING_UID = ("112039", "DCM"), ("112040", "DCM")
ALGORITHM, VERSION = ("111001", "DCM"), ("111003", "DCM")
MEASUREMENTS, GROUP = ("126010", "DCM"), ("125007", "DCM")
FINDING, PROCEDURE = ("121071", "DCM"), ("121058", "DCM")
DEVICE_UID, DEVICE_NAME, DEVICE_MODEL = ("121012", "DCM"), ("121013", "DCM"), ("121015", "DCM")
LANGUAGE, LIBRARY = ("121049", "DCM"), ("111028", "DCM")
SEGMENT, FRAME = ("121191", "DCM"), ("121214", "DCM")
GROUP_TEMPLATES = {"1410", "1411", "1501"}


def problems(report: Dataset, others: Sequence[Dataset], sources: Sequence[Dataset]) -> list[str]:
    """Everything that is wrong with a report and what belongs to it.

    Parameters
    ----------
    report:
        The structured report, read from its file.
    others:
        The answer's other objects: segmentation and capture.
    sources:
        Headers of the images that were asked about.
    """
    found = [*_root(report), *_groups(report), *_measurements(report), *_locations(report)]
    found += [*_regions(report, others), *_evidence(report, others, sources)]
    for one in (report, *others):
        found += [f"{one.Modality}: {what}" for what in (*_context(one, sources[0]), *_equipment(one))]
    for one in others:
        if one.SOPClassUID == SEGMENTATION:
            found += _segments(one)
    return found


def code(item: Dataset) -> tuple[str, str]:
    """Value and scheme."""
    return str(item.CodeValue), str(item.CodingSchemeDesignator)


def name(item: Dataset) -> tuple[str, str]:
    """A content item's concept."""
    return code(item.ConceptNameCodeSequence[0])


def children(item: Dataset, concept: tuple[str, str]) -> list[Dataset]:
    """A content item's children of a concept."""
    return [c for c in item.get("ContentSequence", []) if name(c) == concept]


def everything(item: Dataset) -> Iterator[Dataset]:
    """All content items below one."""
    for child in item.get("ContentSequence", []):
        yield child
        yield from everything(child)


def groups(report: Dataset) -> list[Dataset]:
    """Measurement groups of all imaging measurements."""
    return [g for m in children(report, MEASUREMENTS) for g in children(m, GROUP)]


def _context(one: Dataset, source: Dataset) -> Iterator[str]:
    for keyword in ("PatientID", "PatientName", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber"):
        if (one.get(keyword) or "") != (source.get(keyword) or ""):
            yield f"CONTEXT: {keyword} is not the source's"
    if one.SeriesInstanceUID == source.SeriesInstanceUID:
        yield "CONTEXT: it lies in the source's series"
    if not UID(one.SOPInstanceUID).is_valid or not UID(one.SeriesInstanceUID).is_valid:
        yield "CONTEXT: a UID is not valid"
    if one.file_meta.MediaStorageSOPInstanceUID != one.SOPInstanceUID:
        yield "CONTEXT: the file's label names another instance"
    if one.Modality in {"SR", "SEG"} and not (one.get("ContentDate") and one.get("ContentTime")):
        yield "CONTEXT: Content Date and Time are missing"


def _equipment(one: Dataset) -> Iterator[str]:
    items = [
        i
        for i in one.get("ContributingEquipmentSequence", [])
        if code(i.PurposeOfReferenceCodeSequence[0]) == PROCESSING_EQUIPMENT and "DeviceUID" in i
    ]
    if not items:
        yield "EQUIPMENT: no algorithm with a Device UID"
    for item in items:
        for keyword in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceUID"):
            if not item.get(keyword):
                yield f"EQUIPMENT: {keyword} is missing"
        if not UID(item.DeviceUID).is_valid:
            yield "EQUIPMENT: the Device UID is not valid"


def _root(report: Dataset) -> Iterator[str]:
    if report.SOPClassUID != COMPREHENSIVE_3D_SR:
        yield f"ROOT: SOP class {report.SOPClassUID} is not Comprehensive 3D SR"
    template = report.ContentTemplateSequence[0]
    if (template.TemplateIdentifier, template.MappingResource) != ("1500", "DCMR"):
        yield "ROOT: the root template is not TID 1500"
    if name(report) != ("126000", "DCM"):
        yield "ROOT: it is not an Imaging Measurement Report"
    if report.VerificationFlag != "UNVERIFIED":
        yield "ROOT: nobody verified it"
    for concept, value_type in (
        (PROCEDURE, "CODE"),
        (LANGUAGE, "CODE"),
        (LIBRARY, "CONTAINER"),
        (MEASUREMENTS, "CONTAINER"),
        (DEVICE_UID, "UIDREF"),
        (DEVICE_NAME, "TEXT"),
        (DEVICE_MODEL, "TEXT"),
    ):
        if [i.ValueType for i in children(report, concept)] != [value_type]:
            yield f"ROOT: {concept} must stand once, as {value_type}"
    if not groups(report):
        yield "ROOT: no measurement group"


def _groups(report: Dataset) -> Iterator[str]:
    uids = [str(i.UID) for g in groups(report) for i in children(g, TRACKING_UID)]
    if len(set(uids)) != len(groups(report)):
        yield "TRACKING: each group needs a tracking UID of its own"
    for group in groups(report):
        if group.ContentTemplateSequence[0].TemplateIdentifier not in GROUP_TEMPLATES:
            yield "GROUP: its template is not one of a measurement group"
        if len(children(group, TRACKING_ID)) != 1:
            yield "TRACKING: a group needs one tracking identifier"
        for concept in (ALGORITHM, VERSION):
            if not all(i.TextValue for i in children(group, concept)) or not children(group, concept):
                yield f"ALGORITHM: {concept} is missing in a group"
        refers = children(group, SEGMENT) + children(group, FRAME)
        if bool(refers) != bool(children(group, FINDING)):
            yield "FINDING: a group with a region names a finding, one without does not"
        for item in everything(group):
            if item.ValueType == "CODE" and not all(item.ConceptCodeSequence[0].get(k) for k in _CODED):
                yield "QUALITATIVE: a coded value is incomplete"


_CODED = ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")


def _measurements(report: Dataset) -> Iterator[str]:
    for item in everything(report):
        if item.ValueType != "NUM":
            continue
        measured = item.MeasuredValueSequence[0]
        if measured.MeasurementUnitsCodeSequence[0].CodingSchemeDesignator != "UCUM":
            yield f"MEASUREMENT: the unit of {name(item)} is not of UCUM"
        if measured.get("NumericValue") is None:
            yield f"MEASUREMENT: {name(item)} has no value"


def _locations(report: Dataset) -> Iterator[str]:
    for item in everything(report):
        if item.ValueType == "SCOORD":
            images = [i for i in item.get("ContentSequence", []) if i.ValueType == "IMAGE"]
            if [i.RelationshipType for i in images] != ["SELECTED FROM"]:
                yield "LOCATION: coordinates must be selected from one image"


def _regions(report: Dataset, others: Sequence[Dataset]) -> Iterator[str]:
    segs = {str(o.SOPInstanceUID): o for o in others if o.SOPClassUID == SEGMENTATION}
    for group in groups(report):
        for item in children(group, SEGMENT) + children(group, FRAME):
            reference = item.ReferencedSOPSequence[0]
            seg = segs.get(str(reference.ReferencedSOPInstanceUID))
            if seg is None or reference.ReferencedSOPClassUID != SEGMENTATION:
                yield "REGION: the segmentation that is referred to is not there"
                continue
            if "ReferencedSegmentNumber" in reference:
                number = int(reference.ReferencedSegmentNumber)
            else:
                frame = seg.PerFrameFunctionalGroupsSequence[int(reference.ReferencedFrameNumber) - 1]
                holder = frame if "SegmentIdentificationSequence" in frame else seg.SharedFunctionalGroupsSequence[0]
                number = int(holder.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            segment = next((s for s in seg.SegmentSequence if s.SegmentNumber == number), None)
            if segment is None or [segment.TrackingUID] != [i.UID for i in children(group, TRACKING_UID)]:
                yield "REGION: segment and group have different tracking UIDs"
                continue
            named = [code(i.ConceptCodeSequence[0]) for i in children(group, FINDING)]
            if [code(segment.SegmentedPropertyTypeCodeSequence[0])] != named:
                yield "REGION: segment and group name different things"


def _segments(seg: Dataset) -> Iterator[str]:
    for segment in seg.SegmentSequence:
        for keyword in ("TrackingID", "TrackingUID", "SegmentLabel", "SegmentDescription"):
            if not segment.get(keyword):
                yield f"SEG: {keyword} is missing"
        if segment.SegmentAlgorithmType != "AUTOMATIC":
            yield "SEG: no person took part in it"
        for item in segment.get("SegmentationAlgorithmIdentificationSequence") or [Dataset()]:
            for keyword in ("AlgorithmName", "AlgorithmVersion", "AlgorithmFamilyCodeSequence"):
                if not item.get(keyword):
                    yield f"SEG: {keyword} is missing"
        for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
            if not all(segment[keyword][0].get(k) for k in _CODED):
                yield f"SEG: {keyword} is incomplete"


def _evidence(report: Dataset, others: Sequence[Dataset], sources: Sequence[Dataset]) -> Iterator[str]:
    known = {str(d.SOPInstanceUID): d for d in (*others, *sources)}
    listed = set()
    for study in report.CurrentRequestedProcedureEvidenceSequence:
        for series in study.ReferencedSeriesSequence:
            for item in series.ReferencedSOPSequence:
                uid = str(item.ReferencedSOPInstanceUID)
                listed.add(uid)
                one = known.get(uid)
                if one is None:
                    yield "EVIDENCE: it names an instance that is not there"
                elif (one.SOPClassUID, one.SeriesInstanceUID, one.StudyInstanceUID) != (
                    item.ReferencedSOPClassUID,
                    series.SeriesInstanceUID,
                    study.StudyInstanceUID,
                ):
                    yield "EVIDENCE: SOP class, series or study of an instance is wrong"
    if referred := set(_referred(report)) - listed:
        yield f"EVIDENCE: {len(referred)} instances of the content are not in it"
    in_library = set(_referred_by(i for part in children(report, LIBRARY) for i in everything(part)))
    if images := {str(s.SOPInstanceUID) for s in sources} & set(_referred(report)) - in_library:
        yield f"EVIDENCE: {len(images)} images of the content are not in the image library"


def _referred(report: Dataset) -> Iterable[str]:
    return _referred_by(everything(report))


def _referred_by(items: Iterable[Dataset]) -> Iterator[str]:
    for item in items:
        for reference in item.get("ReferencedSOPSequence", []):
            yield str(reference.ReferencedSOPInstanceUID)
