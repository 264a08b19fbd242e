"""Findings out as a DICOM Segmentation (PS3.3 A.51) that says what made it and stays tied to its source images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.concepts import ARTIFICIAL_INTELLIGENCE, GENERIC
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.text import short
from medreasoner_monai.dicom.uids import PLACEHOLDER, identify
from medreasoner_monai.dicom.unplaced import as_stack, needs_stack, out_of_stack, with_shared_groups
from medreasoner_monai.errors import DicomError, InputError, MedReasonerError
from medreasoner_monai.task.findings import Finding, Origin, SliceResult

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

SegKind = Literal["binary", "fractional", "labelmap"]
SERIES_BASE = 1000
_SERIES_DESCRIPTION = "Research use only: region answering a question"
_LEAST = 1 / 255  # a marked pixel stays marked, however low its confidence


class EmptyMaskError(MedReasonerError):
    """There is nothing to make a segmentation of."""


def parse_kind(text: object) -> SegKind:
    """The kind of segmentation as a person or a config names it.

    Raises
    ------
    InputError
        If there is no such kind.
    """
    if text in get_args(SegKind):
        return text  # type: ignore[return-value]
    raise InputError(f"a segmentation is binary, fractional or labelmap; got {text!r}")


def build_seg(series: Series, findings: Sequence[Finding], origin: Origin, *, kind: SegKind = "binary") -> Segmentation:
    """The found findings as segments, numbered from 1 in their order; frames without a marked pixel are left out.

    Parameters
    ----------
    series:
        What the findings were made on.
    findings:
        Those with status ``found`` become a segment each, the others are passed over.
    origin:
        What made them.
    kind:
        ``binary``; ``fractional``, where each marked pixel has its slice's confidence as its probability; ``labelmap``,
        one frame a slice for all findings, which not every reader knows yet.

    Returns
    -------
    The data set, with UIDs that follow from its content (:mod:`~medreasoner_monai.dicom.uids`);
    :func:`~medreasoner_monai.dicom.saving.save` writes it.

    Raises
    ------
    EmptyMaskError
        If no finding has a marked pixel.
    DicomError
        If a mask does not have the shape of the series' slices, findings overlap in a labelmap, a marked slice has no
        probability to write in a fractional segmentation, or the series cannot be referred to.
    """
    found = [f for f in findings if f.status == "found"]
    if not found:
        raise EmptyMaskError("no pixel is marked in any slice, so there is no segmentation to make")
    for finding in found:
        _check(series, finding)
    import highdicom as hd

    stacked = needs_stack(series)
    sources = as_stack(series) if stacked else [with_shared_groups(h) for h in series.headers]
    try:
        seg = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=series.in_stored_order(_pixels(series, found, kind)),
            segmentation_type=hd.seg.SegmentationTypeValues[kind.upper()],
            segment_descriptions=[_description(f, i, origin) for i, f in enumerate(found, 1)],
            series_instance_uid=PLACEHOLDER,
            series_number=provenance.series_number(series, SERIES_BASE),
            sop_instance_uid=PLACEHOLDER,
            instance_number=1,
            manufacturer=provenance.MANUFACTURER,
            manufacturer_model_name=provenance.algorithm_name(origin),
            software_versions=provenance.algorithm_version(origin),
            device_serial_number=provenance.serial_number(origin),
            content_label="GROUNDING",
            content_description="Regions that answer questions; research use only",
            content_creator_name=provenance.CONTENT_CREATOR,
            omit_empty_frames=True,
            series_description=_SERIES_DESCRIPTION,
            specific_character_set=provenance.UTF_8,
            contributing_equipment=provenance.contributing_equipment(origin),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DicomError(
            f"{series.name}: no segmentation can refer to this series ({type(error).__name__}); its images "
            "must have one size and one frame of reference, and a multi-frame image one orientation"
        ) from error
    described = seg.SegmentSequence[-len(found) :]  # a labelmap has its background before them
    for item, finding in zip(described, found, strict=True):
        item.SegmentDescription = short(_about(finding, kind), 1024)
    if stacked:
        out_of_stack(seg)
    _complete(seg, series)
    identify(seg, "seg")
    return seg


def _about(finding: Finding, kind: SegKind) -> str:
    question = f"Answer to: {finding.question}"
    if kind != "fractional" or not finding.confidence_kind:
        return question
    # In front, so that a long question does not cut it off.
    return f"Pixel values: {provenance.CONFIDENCE[finding.confidence_kind]}. {question}"


def _check(series: Series, finding: Finding) -> None:
    count, *size = series.shape
    for one in finding.slices:
        if not 0 <= one.index < count:
            raise DicomError(f"a finding has slice {one.index}, but the series has {count} slices, counted from 0")
        if one.mask is not None and (one.mask.dtype != np.bool_ or one.mask.shape != tuple(size)):
            raise DicomError(
                f"masks must be bool of shape {tuple(size)} (rows, columns) like the series, "
                f"got {one.mask.dtype} of shape {one.mask.shape}"
            )


def _pixels(series: Series, found: Sequence[Finding], kind: SegKind) -> NDArray[Any]:
    """Segment numbers ``(slices, rows, columns)``, in series order; a last axis of findings that share pixels.

    The first is what highdicom handles faster.
    """
    if kind == "fractional":
        return _probabilities(series, found)
    labels = np.zeros(series.shape, dtype=np.uint8 if len(found) < 256 else np.uint16)
    for number, finding in enumerate(found, 1):
        for index, mask in finding.marked.items():
            if labels[index][mask].any():
                if kind == "labelmap":
                    raise DicomError(
                        f"findings share pixels on slice {index}, and a labelmap holds one finding a pixel; "
                        "write a binary segmentation, or one labelmap a finding"
                    )
                return _layers(series, found)
            labels[index][mask] = number
    return labels


def _layers(series: Series, found: Sequence[Finding]) -> NDArray[np.uint8]:
    out = np.zeros((len(found), *series.shape), dtype=np.uint8)
    for layer, finding in zip(out, found, strict=True):
        for index, mask in finding.marked.items():
            layer[index] = mask
    return np.moveaxis(out, 0, -1)


def _probabilities(series: Series, found: Sequence[Finding]) -> NDArray[np.float32]:
    out = np.zeros((len(found), *series.shape), dtype=np.float32)
    for layer, finding in zip(out, found, strict=True):
        for one in finding.slices:
            if one.mask is not None and one.voxels:
                layer[one.index][one.mask] = float(np.clip(_probability(finding, one), _LEAST, 1))
    return np.moveaxis(out, 0, -1)


def _probability(finding: Finding, one: SliceResult) -> float:
    """A marked slice's confidence; a carrier's score is none: it says how a mask follows the one before."""
    remedy = "write a binary segmentation, or ask every slice with several answers (slices all, answers above 1)"
    if one.carried:
        raise DicomError(
            f"slice {one.index}: its mask was carried there and has no probability, which a fractional segmentation "
            f"needs; {remedy}"
        )
    if one.confidence is None or not finding.confidence_kind:
        raise DicomError(
            f"slice {one.index}: no confidence was measured there, which a fractional segmentation needs; {remedy}"
        )
    return one.confidence


def _complete(seg: Dataset, series: Series) -> None:
    """Attributes that highdicom takes from the source or leaves out, for sources that lack them."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    placed = "PlaneOrientationSequence" in shared
    if not placed:
        seg.PatientOrientation = None  # type 2C: required, may be empty (PS3.3 C.7.6.1)
    measures = shared.get("PixelMeasuresSequence")
    if not measures:
        return
    if not measures[0].get("SliceThickness"):
        if series.slice_distance:
            measures[0].SliceThickness = f"{series.slice_distance:.6g}"
        elif not placed:
            # Readers want the thickness with the spacing; a photograph or a projection has none.
            del shared.PixelMeasuresSequence
    if placed and len(series) > 1:
        _space_slices(measures[0], series, shared.PlaneOrientationSequence[0].ImageOrientationPatient)


def _space_slices(measures: Dataset, series: Series, orientation: Sequence[float]) -> None:
    """The distance that the positions tell: readers put slices by it, and what sources say of it may be wrong."""
    from highdicom.spatial import get_volume_positions

    distance, _ = get_volume_positions(
        [p for i in range(len(series)) if (p := series.position(i)) is not None], orientation
    )
    if distance:
        measures.SpacingBetweenSlices = f"{distance:.8g}"
    elif "SpacingBetweenSlices" in measures:
        del measures.SpacingBetweenSlices


def _description(finding: Finding, number: int, origin: Origin) -> SegmentDescription:
    import highdicom as hd

    codes = finding.codes or GENERIC
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=short(codes.label, 64) or GENERIC.label,
        segmented_property_category=hd.sr.CodedConcept(*codes.property_category),
        segmented_property_type=hd.sr.CodedConcept(*codes.property_type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=provenance.algorithm_name(origin),
            family=hd.sr.CodedConcept(*ARTIFICIAL_INTELLIGENCE),
            version=provenance.algorithm_version(origin),
            parameters=provenance.parameters(origin, finding),
        ),
        tracking_uid=finding.tracking_uid,
        tracking_id=provenance.tracking_id(finding),
        anatomic_regions=[hd.sr.CodedConcept(*codes.region)] if codes.region else None,
    )
    if codes.laterality:
        side = [hd.sr.CodedConcept(*codes.laterality)]
        if codes.region:
            description.AnatomicRegionSequence[0].AnatomicRegionModifierSequence = side
        else:
            description.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence = side
    return description
