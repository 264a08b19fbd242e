"""Masks out as a DICOM Segmentation (PS3.3 A.51) that says what made it and stays tied to its source images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import generate_uid

from medreasoner_monai import __version__
from medreasoner_monai.dicom.privacy import private
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import DicomError, MedReasonerError

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

CodeTriple = tuple[str, str, str]
ANATOMICAL_STRUCTURE: CodeTriple = ("91723000", "SCT", "Anatomical Structure")
TISSUE: CodeTriple = ("85756007", "SCT", "Tissue")
_AI: CodeTriple = ("123110", "DCM", "Artificial Intelligence")
_SERIES_DESCRIPTION = "Research use only: region answering a question"
_MANUFACTURER = "medreasoner-monai"
_FIRST_SERIES_NUMBER = 1000


class EmptyMaskError(MedReasonerError):
    """There is nothing to write a segmentation of."""


@dataclass(frozen=True)
class SegmentInfo:
    """What a segment is and what made it. Codes are (value, scheme, meaning).

    Attributes
    ----------
    label:
        Segment Label; cut to 64 bytes of UTF-8 (VR LO).
    description:
        Segment Description, such as the question; cut to 1024 bytes (VR ST).
    category, type:
        Segmented property category (CID 7150) and type (CID 7151), generic unless known better.
    regions:
        Anatomic regions, when known.
    algorithm, version, family:
        Algorithm identification (PS3.3 10.16), family of CID 7162.
    parameters:
        Kept in the algorithm identification, as ``name: value``.
    serial:
        Device Serial Number; a digest of the model is the honest one.
    tracking_id, tracking_uid:
        Identify the finding across objects.
    """

    label: str = "Answer to question"
    description: str = ""
    category: CodeTriple = ANATOMICAL_STRUCTURE
    type: CodeTriple = TISSUE
    regions: tuple[CodeTriple, ...] = ()
    algorithm: str = "medreasoner-monai"
    version: str = __version__
    family: CodeTriple = _AI
    parameters: Mapping[str, str] = field(default_factory=dict)
    serial: str = "none"
    tracking_id: str = "Answer"
    tracking_uid: str = field(default_factory=lambda: str(generate_uid(prefix=None)))


@private()
def write_seg(series: Series, masks: NDArray[np.bool_], segment: SegmentInfo, path: Path) -> str:
    """Write masks as one segment of a BINARY segmentation; slices without a marked pixel are left out.

    The file is written beside its final name and renamed.

    Parameters
    ----------
    series:
        What the masks were made on.
    masks:
        Boolean, ``(slices, rows, columns)``, slices in the order of ``series``.
    segment:
        Meaning and origin.
    path:
        The file to write; an existing one is replaced.

    Returns
    -------
    The SOP Instance UID of the segmentation.

    Raises
    ------
    EmptyMaskError
        If no pixel is marked in any slice.
    DicomError
        If the masks do not have the shape of the series, or the series cannot be referred to (for example several
        frames without positions in space).
    """
    if masks.dtype != np.bool_ or masks.shape != series.shape:
        raise DicomError(
            f"masks must be bool of shape {series.shape} (slices, rows, columns) like the series, "
            f"got {masks.dtype} of shape {masks.shape}"
        )
    if not masks.any():
        raise EmptyMaskError("no pixel is marked in any slice, so there is no segmentation to write")
    import highdicom as hd

    uid = str(generate_uid(prefix=None))
    try:
        seg = hd.seg.Segmentation(
            source_images=list(series.headers),
            pixel_array=masks,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[_description(segment)],
            series_instance_uid=str(generate_uid(prefix=None)),
            series_number=_FIRST_SERIES_NUMBER + min(max(series.number or 0, 0), 10**6),
            sop_instance_uid=uid,
            instance_number=1,
            manufacturer=_MANUFACTURER,
            manufacturer_model_name=_text(segment.algorithm, 64),
            software_versions=_text(segment.version, 64),
            device_serial_number=_text(segment.serial, 64) or "none",
            content_label="GROUNDING",
            content_description="Region that answers a question; research use only",
            content_creator_name="MedReasoner^MONAI",
            omit_empty_frames=True,
            series_description=_SERIES_DESCRIPTION,
            # The question may be in any script; names of the source are written again in UTF-8.
            specific_character_set="ISO_IR 192",
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise DicomError(
            f"{series.paths[0].parent}: no segmentation can refer to this series ({error}); "
            "give a series of single-frame images, or an enhanced multi-frame image with positions in space"
        ) from error
    seg.SegmentSequence[0].SegmentDescription = _text(segment.description, 1024)
    _complete(seg, series)
    temporary = path.with_name(f".{path.name}.partial")
    try:
        seg.save_as(temporary, enforce_file_format=True)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return uid


def _complete(seg: Dataset, series: Series) -> None:
    """Attributes that highdicom takes from the source or leaves out, for sources that lack them."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    in_space = "PlaneOrientationSequence" in shared
    if not in_space:
        seg.PatientOrientation = None  # type 2C: required, may be empty (PS3.3 C.7.6.1)
    measures = shared.get("PixelMeasuresSequence")
    if measures and not measures[0].get("SliceThickness"):
        if series.slice_distance:
            measures[0].SliceThickness = f"{series.slice_distance:.6g}"
        elif not in_space:
            # Readers want the thickness with the spacing; a photograph or a projection has none.
            del shared.PixelMeasuresSequence


def _description(segment: SegmentInfo) -> SegmentDescription:
    import highdicom as hd

    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label=_text(segment.label, 64) or "Answer to question",
        segmented_property_category=hd.sr.CodedConcept(*segment.category),
        segmented_property_type=hd.sr.CodedConcept(*segment.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=_text(segment.algorithm, 64),
            family=hd.sr.CodedConcept(*segment.family),
            version=_text(segment.version, 64),
            parameters=dict(segment.parameters) or None,
        ),
        tracking_uid=segment.tracking_uid,
        tracking_id=_text(segment.tracking_id, 64),
        anatomic_regions=[hd.sr.CodedConcept(*region) for region in segment.regions] or None,
    )


def _text(value: str, limit: int) -> str:
    """Text that a short-string VR takes: no control characters, no backslash (it separates values), not too long.

    PS3.5 6.2 counts characters, but some readers count bytes: ``limit`` is kept in bytes of UTF-8, which suits both.
    """
    clean = "".join(c if c.isprintable() and c != "\\" else " " for c in value)
    folded = " ".join(clean.split())
    if len(folded.encode()) <= limit:
        return folded
    return folded.encode()[: limit - 3].decode(errors="ignore") + "..."
