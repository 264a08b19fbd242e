"""One finding as a measurement group of a report: TID 1411 (volume), TID 1410 (one slice), TID 1501 (no region)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from medreasoner_monai.dicom import concepts as c
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.coverage import Coverage, coverage
from medreasoner_monai.dicom.image_library import ImageReference, references
from medreasoner_monai.dicom.measures import Measures, measure
from medreasoner_monai.dicom.segments import Segments
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import long
from medreasoner_monai.task.findings import Finding, Origin
from medreasoner_monai.task.taxonomy import ANATOMICAL_STRUCTURE, Code

if TYPE_CHECKING:
    from highdicom.sr import CodedConcept, ContentItem, Measurement

_SLICE_MEASURES = (
    ("area_mm2", c.AREA, c.SQUARE_MILLIMETRE),
    ("long_mm", c.LONG_AXIS, c.MILLIMETRE),
    ("short_mm", c.SHORT_AXIS, c.MILLIMETRE),
)
_STATISTICS = (
    ("mean", c.MEAN),
    ("sd", c.STANDARD_DEVIATION),
    ("minimum", c.MINIMUM),
    ("maximum", c.MAXIMUM),
)
_NAMED_BY = {
    "given": "The name of the region was given with the question.",
    "trace": "The name of the region was read from the model's reasoning, and nobody confirmed it.",
}


def group(
    series: Series, finding: Finding, origin: Origin, segments: Segments | None, measures: Measures | None = None
) -> Any:
    """The highdicom measurement group of a finding; ``segments`` is needed for a found one only.

    ``measures`` are the finding's where it was measured already.
    """
    import highdicom.sr as sr

    key, covered = references(series, [finding.key])[0], coverage(series, finding)
    common: dict[str, Any] = {
        "tracking_identifier": sr.TrackingIdentifier(finding.tracking_uid, provenance.tracking_id(finding)),
        "algorithm_id": _algorithm(origin, finding),
        "qualitative_evaluations": list(_evaluations(finding, covered)),
    }
    if finding.status != "found" or segments is None:
        images = references(series, [s.index for s in finding.slices])
        out = sr.MeasurementsAndQualitativeEvaluations(
            **common, source_images=[_source(sr.SourceImageForMeasurementGroup, image) for image in images]
        )
    else:
        out = _region(series, finding, measures or measure(series, finding), segments, key, common)
    out[0].ContentSequence.extend([*_texts(finding, covered), *_numbers(finding), *_coordinates(finding, key)])
    return out


def _region(
    series: Series,
    finding: Finding,
    measures: Measures,
    segments: Segments,
    key: ImageReference,
    common: Mapping[str, Any],
) -> Any:
    import highdicom.sr as sr

    codes = finding.codes or c.GENERIC
    # An organ is its own site; of a lesion it is known only where the codes say so.
    organ = finding.codes is not None and codes.property_category == ANATOMICAL_STRUCTURE
    site = codes.region or (codes.property_type if organ else None)
    everything = {
        **common,
        "finding_category": _concept(codes.property_category),
        "finding_type": _concept(codes.property_type),
        "finding_sites": [
            sr.FindingSite(_concept(site), laterality=_concept(codes.laterality) if codes.laterality else None)
        ]
        if site
        else None,
    }
    number, header = segments.numbers[finding.tracking_uid], segments.header
    if len(finding.marked) > 1 and series.has_frame_of_reference:
        images = [_source(sr.SourceImageForSegmentation, image) for image in references(series, finding.marked)]
        return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            referenced_segment=sr.ReferencedSegment(
                header.SOPClassUID, header.SOPInstanceUID, number, source_images=images
            ),
            measurements=[*_volume(measures), *_on_slice(series, measures, key)],
            **everything,
        )
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        referenced_segment=_segmentation_frame(segments, number, key),
        measurements=list(_on_slice(series, measures, key)),
        **everything,
    )


def _segmentation_frame(segments: Segments, number: int, key: ImageReference) -> Any:
    """A reference names frames or segments, not both (PS3.3 10.3); a labelmap's frame may show several segments."""
    import highdicom.sr as sr

    header = segments.header
    frame, source = segments.frame(number, key), _source(sr.SourceImageForSegmentation, key)
    item = sr.ReferencedSegmentationFrame(header.SOPClassUID, header.SOPInstanceUID, frame, number, source)
    needless = "ReferencedFrameNumber" if header.SegmentationType == "LABELMAP" else "ReferencedSegmentNumber"
    delattr(item[0].ReferencedSOPSequence[0], needless)
    return item


def _source(kind: Any, image: ImageReference) -> Any:
    return kind(image.sop_class_uid, image.sop_instance_uid, image.frame_numbers)


def _concept(code: Code) -> CodedConcept:
    from highdicom.sr import CodedConcept

    return CodedConcept(*code)


def _algorithm(origin: Origin, finding: Finding) -> Any:
    from highdicom.sr import AlgorithmIdentification

    return AlgorithmIdentification(
        name=provenance.algorithm_name(origin),
        version=provenance.algorithm_version(origin),
        parameters=[f"{name}: {value}" for name, value in provenance.parameters(origin, finding).items()],
    )


def _volume(measures: Measures) -> Iterator[Measurement]:
    from highdicom.sr import Measurement

    if measures.volume_ml is not None:
        yield Measurement(_concept(c.VOLUME), _rounded(measures.volume_ml), _concept(c.MILLILITRE))


def _on_slice(series: Series, measures: Measures, key: ImageReference) -> Iterator[Measurement]:
    """What was measured on the key slice; each says so by its image."""
    import highdicom.sr as sr

    method = _concept(c.AT_DETECTOR) if measures.plane == "detector" else None
    image = [_source(sr.SourceImageForMeasurement, key)]
    for name, concept, unit in _SLICE_MEASURES:
        value = getattr(measures, name)
        if value is not None:
            yield sr.Measurement(
                _concept(concept), _rounded(value), _concept(unit), method=method, referenced_images=image
            )
    if measures.unit is None:
        return
    what, of = _concept(c.intensity(series.modality)), _concept(measures.unit)
    for name, derivation in _STATISTICS:
        value = _rounded(getattr(measures, name))
        yield sr.Measurement(what, value, of, derivation=_concept(derivation), referenced_images=image)


def _rounded(value: float) -> float:
    """Seven significant digits: more than any of these is known to, and within the 16 characters of VR DS."""
    return float(f"{value:.7g}")


def _evaluations(finding: Finding, covered: Coverage) -> Iterator[Any]:
    from highdicom.sr import QualitativeEvaluation

    yield QualitativeEvaluation(_concept(c.STATUS), _concept(c.STATUS_CODES[finding.status]))
    if finding.status == "found":
        yield QualitativeEvaluation(_concept(c.WHOLE), _concept(c.YES if covered.complete else c.NO))
    if finding.codes is None:
        return
    if finding.status != "found":
        # Not as the finding: that would say that it is there.
        yield QualitativeEvaluation(_concept(c.TARGET), _concept(finding.codes.property_type))


def _texts(finding: Finding, covered: Coverage) -> Iterator[ContentItem]:
    from highdicom.sr import TextContentItem

    shown = finding.shown
    trace = shown.grounding.trace if shown.grounding else None
    texts = [
        (c.QUESTION, finding.question),
        (c.TRACE, trace or ""),
        (c.REASON, "" if finding.status == "found" else finding.reason or finding.status),
        *((c.CAUTION, flag.text) for flag in finding.flags),
        (c.COVERAGE, covered.text),
        *((c.STOP, stop) for stop in finding.stops),
        # PS3.16 has no concept for a code's origin.
        (c.COMMENT, _NAMED_BY.get(finding.coded_from, "")),
    ]
    for name, text in texts:
        if value := long(text):
            yield TextContentItem(_concept(name), value, relationship_type="CONTAINS")


def _numbers(finding: Finding) -> Iterator[ContentItem]:
    """The key slice's confidence, under the name of what it is.

    DICOM's Certainty of Finding is a calibrated confidence only; one of no stated kind is not written.
    """
    from highdicom.sr import NumContentItem

    confidence = finding.shown.confidence
    if confidence is not None and finding.confidence_kind:
        name = c.CERTAINTY if finding.confidence_kind == "calibrated" else c.AGREEMENT
        percent = float(f"{100 * confidence:.4g}")
        yield NumContentItem(_concept(name), percent, _concept(c.PERCENT), relationship_type="CONTAINS")


def _coordinates(finding: Finding, key: ImageReference) -> Iterator[ContentItem]:
    """Box and points on the key slice, in the (column, row) of PS3.3 C.18.6.1.1, which is how our frames count."""
    grounding = finding.shown.grounding
    if grounding is None:
        return
    x1, y1, x2, y2 = grounding.box.xyxy
    corners = [(x1, y1), (x2, y1), (x2, y2), (x1, y2), (x1, y1)]
    yield _scoord(c.BOX, "POLYLINE", corners, key)
    yield _scoord(c.POINTS, "MULTIPOINT", grounding.points.xy, key)


def _scoord(name: Code, graphic: str, xy: Any, key: ImageReference) -> ContentItem:
    from highdicom.sr import ContentSequence, ScoordContentItem

    item = ScoordContentItem(_concept(name), graphic, np.asarray(xy, dtype=np.float32), relationship_type="CONTAINS")
    item.ContentSequence = ContentSequence([key.content("SELECTED FROM")])
    return item
