"""The images that a report speaks of: references to slices, and the report's image library (PS3.16 TID 1600)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydicom import Dataset

from medreasoner_monai.dicom.concepts import MILLIMETRE, modality_code
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.spacing import calibrated_spacing
from medreasoner_monai.task.taxonomy import Code

if TYPE_CHECKING:
    from highdicom.sr import ContainerContentItem, ContentItem

_PIXELS = Code("{pixels}", "UCUM", "Pixels")
_LIBRARY = Code("111028", "DCM", "Image Library")
_GROUP = Code("126200", "DCM", "Image Library Group")
_MODALITY = Code("121139", "DCM", "Modality")
_FRAME_OF_REFERENCE = Code("112227", "DCM", "Frame of Reference UID")
_SOURCE = Code("260753009", "SCT", "Source")
_ROWS, _COLUMNS = Code("110910", "DCM", "Pixel Data Rows"), Code("110911", "DCM", "Pixel Data Columns")
_HORIZONTAL = Code("111026", "DCM", "Horizontal Pixel Spacing")
_VERTICAL = Code("111066", "DCM", "Vertical Pixel Spacing")
_POSITION = tuple(Code(f"11090{i}", "DCM", f"Image Position (Patient) {axis}") for i, axis in enumerate("XYZ", 1))


@dataclass(frozen=True, slots=True)
class ImageReference:
    """One SOP instance and, in a multi-frame one, which of its frames (from 1)."""

    sop_class_uid: str
    sop_instance_uid: str
    frames: tuple[int, ...] | None = None

    def content(self, relationship: str = "CONTAINS", name: Code = _SOURCE) -> ContentItem:
        """An IMAGE content item of it."""
        from highdicom.sr import CodedConcept, ImageContentItem

        return ImageContentItem(
            CodedConcept(*name),
            self.sop_class_uid,
            self.sop_instance_uid,
            referenced_frame_numbers=self.frame_numbers,
            relationship_type=relationship,
        )

    @property
    def frame_numbers(self) -> list[int] | None:
        """As highdicom takes them."""
        return list(self.frames) if self.frames else None


def references(series: Series, indices: Iterable[int]) -> list[ImageReference]:
    """The images that hold these slices, in series order; frames of one image are one reference."""
    by_file: dict[int, list[int]] = {}
    for index in sorted(set(indices)):
        file, frame = series.locate(index)
        by_file.setdefault(file, []).append(frame + 1)
    out = []
    for file, frames in by_file.items():
        header = series.headers[file]
        multi = int(header.get("NumberOfFrames") or 1) > 1
        out.append(
            ImageReference(str(header.SOPClassUID), str(header.SOPInstanceUID), tuple(frames) if multi else None)
        )
    return out


def headers(series: Series, indices: Iterable[int]) -> list[Dataset]:
    """The headers of the files that hold these slices, each once, in series order."""
    return [series.headers[file] for file in sorted({series.locate(index)[0] for index in indices})]


def image_library(series: Series, indices: Sequence[int]) -> ContainerContentItem:
    """The library with the slices looked at: what they share stands once, at their group."""
    from highdicom.sr import CodedConcept, ContainerContentItem, ContentSequence

    group = ContainerContentItem(CodedConcept(*_GROUP), relationship_type="CONTAINS")
    items = [*_shared(series)]
    for image, header in zip(references(series, indices), headers(series, indices), strict=True):
        item = image.content()
        position = header.get("ImagePositionPatient")
        if position is not None and len(position) == 3:
            own = [_number(name, v, MILLIMETRE) for name, v in zip(_POSITION, position, strict=True)]
            item.ContentSequence = ContentSequence(own)
        items.append(item)
    group.ContentSequence = ContentSequence(items)
    library = ContainerContentItem(CodedConcept(*_LIBRARY), relationship_type="CONTAINS")
    library.ContentSequence = ContentSequence([group])
    return library


def _shared(series: Series) -> list[ContentItem]:
    from highdicom.sr import CodeContentItem, CodedConcept, UIDRefContentItem

    header = series.headers[0]
    context = "HAS ACQ CONTEXT"
    out: list[Any] = [CodeContentItem(CodedConcept(*_MODALITY), CodedConcept(*modality_code(series.modality)), context)]
    if header.get("FrameOfReferenceUID"):
        out.append(UIDRefContentItem(CodedConcept(*_FRAME_OF_REFERENCE), str(header.FrameOfReferenceUID), context))
    out += [_number(_ROWS, int(header.Rows), _PIXELS), _number(_COLUMNS, int(header.Columns), _PIXELS)]
    spacing = calibrated_spacing(header)
    if spacing is not None:
        out += [
            _number(_HORIZONTAL, spacing.column, MILLIMETRE),
            _number(_VERTICAL, spacing.row, MILLIMETRE),
        ]
    return out


def _number(name: Code, value: float, unit: Code) -> ContentItem:
    from highdicom.sr import CodedConcept, NumContentItem

    return NumContentItem(CodedConcept(*name), float(value), CodedConcept(*unit), relationship_type="HAS ACQ CONTEXT")
