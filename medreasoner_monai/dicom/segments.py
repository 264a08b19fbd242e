"""A segmentation as a report refers to it: its segments by finding, its frames by source slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pydicom import Dataset

from medreasoner_monai.dicom.image_library import ImageReference
from medreasoner_monai.dicom.pixels import name
from medreasoner_monai.errors import DicomError


@dataclass(frozen=True, eq=False)
class Segments:
    """A segmentation, with or without its pixels."""

    header: Dataset

    @classmethod
    def of(cls, seg: Dataset) -> Segments:
        """A segmentation that this package built.

        Raises
        ------
        DicomError
            If it is none.
        """
        if not seg.get("SegmentSequence") or not seg.get("PerFrameFunctionalGroupsSequence"):
            raise DicomError(f"{name(seg)}: is not a segmentation; give the one that was built from the same findings")
        return cls(seg)

    @property
    def name(self) -> str:
        """For messages."""
        return f"the segmentation {name(self.header)}"

    @cached_property
    def numbers(self) -> dict[str, int]:
        """Segment numbers by tracking UID."""
        return {str(s.TrackingUID): int(s.SegmentNumber) for s in self.header.SegmentSequence if "TrackingUID" in s}

    def frame(self, number: int, source: ImageReference) -> int:
        """The segmentation's frame (from 1) that shows a segment on a source slice.

        Raises
        ------
        DicomError
            If no frame does.
        """
        # An image of one frame may be referred to with or without its number.
        wanted = source.frames[0] if source.frames else 1
        shared = self.header.SharedFunctionalGroupsSequence[0]
        for frame, item in enumerate(self.header.PerFrameFunctionalGroupsSequence, 1):
            image = item.DerivationImageSequence[0].SourceImageSequence[0]
            here = image.ReferencedSOPInstanceUID == source.sop_instance_uid
            if here and int(image.get("ReferencedFrameNumber") or 1) == wanted and _shows(number, item, shared):
                return frame
        raise DicomError(
            f"{self.name}: segment {number} has no frame of the key slice; build it again from the same findings"
        )


def _shows(number: int, item: Dataset, shared: Dataset) -> bool:
    """A labelmap's frames name no segment and may show any."""
    for groups in (item, shared):
        if "SegmentIdentificationSequence" in groups:
            return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber) == number
    return True
