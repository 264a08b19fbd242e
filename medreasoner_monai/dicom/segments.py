"""A written segmentation as a report refers to it: its segments by finding, its frames by source slice."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydicom import Dataset, dcmread

from medreasoner_monai.dicom.image_library import ImageReference
from medreasoner_monai.errors import DicomError


@dataclass(frozen=True)
class Segments:
    """The segmentation's header without pixels, and the file it is from."""

    header: Dataset
    path: Path

    @classmethod
    def read(cls, path: Path) -> Segments:
        """Read a segmentation that this package wrote.

        Raises
        ------
        DicomError
            If it cannot be read, or is none.
        """
        try:
            header = dcmread(path, stop_before_pixels=True)
        except Exception as error:  # pydicom raises many kinds
            raise DicomError(f"{path}: cannot be read as DICOM ({type(error).__name__}); write it again") from error
        if not header.get("SegmentSequence") or not header.get("PerFrameFunctionalGroupsSequence"):
            raise DicomError(f"{path}: is no segmentation; give the one that was written from the same findings")
        return cls(header, path)

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
        wanted = source.frames[0] if source.frames else 0
        shared = self.header.SharedFunctionalGroupsSequence[0]
        for frame, item in enumerate(self.header.PerFrameFunctionalGroupsSequence, 1):
            image = item.DerivationImageSequence[0].SourceImageSequence[0]
            here = image.ReferencedSOPInstanceUID == source.sop_instance_uid
            if here and int(image.get("ReferencedFrameNumber") or 0) == wanted and _shows(number, item, shared):
                return frame
        raise DicomError(
            f"{self.path}: segment {number} has no frame of the key slice; write it again from the same findings"
        )


def _shows(number: int, item: Dataset, shared: Dataset) -> bool:
    """A labelmap's frames name no segment and may show any."""
    for groups in (item, shared):
        if "SegmentIdentificationSequence" in groups:
            return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber) == number
    return True
