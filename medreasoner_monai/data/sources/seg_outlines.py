"""Segments of a DICOM Segmentation (PS3.3 A.51) on the slices of a series.

A frame belongs to the slice where it lies in the patient; where it has no place (ultrasound, photographs) to the frame
that it was derived from. A frame of another grid in the same plane (cropped, mirrored, other spacing) is taken to the
slice's grid by the nearest pixel. Of a fractional segmentation what has at least half of the greatest value counts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydicom import Dataset

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.outlines import Mask, Outline, Places, coded_name, reference_problem, target_name
from medreasoner_monai.dicom.values import Vector, frame_value, vector

if TYPE_CHECKING:
    from highdicom.seg import Segmentation

_PARALLEL = 0.999


@dataclass(frozen=True, eq=False)
class SegReader:
    """The segments of one segmentation.

    Attributes
    ----------
    seg:
        As highdicom reads it; frames are decoded one by one.
    """

    seg: Segmentation
    places: Places
    where: str
    names: Mapping[str, str] = field(default_factory=dict)

    def outlines(self) -> Iterator[Outline | Reject]:
        """Each segment that marks a pixel of the series, and a reject for what does not lie on it.

        A segment that was left out by the config is a reject of one mask; of others, each lost slice is one.
        """
        described = self._described
        if problem := reference_problem(str(self.seg.get("FrameOfReferenceUID") or ""), self.places):
            yield Reject(self.where, problem, masks=len(described))
            return
        pixels, lost = self._survey()
        for number, segment in described.items():
            label = str(segment.get("SegmentLabel") or "")
            where = f"{self.where} segment {number}"
            name = target_name(label, coded_name(segment), self.names)
            if name is None:
                yield Reject(where, "left out by the config (names)")
                continue
            for reason, count in lost.get(number, {}).items():
                yield Reject(where, f"{count} frame(s) are not on the series: {reason}", masks=count)
            if pixels.get(number):
                yield Outline(name, where, pixels[number], _Draw(self, number))
            elif number not in lost:
                yield Reject(where, "the segment marks no pixel")

    @cached_property
    def _described(self) -> dict[int, Dataset]:
        return {int(s.SegmentNumber): s for s in self.seg.SegmentSequence if int(s.SegmentNumber) > 0}

    @cached_property
    def _labelmap(self) -> bool:
        return str(self.seg.SegmentationType) == "LABELMAP"

    @cached_property
    def _placed(self) -> dict[int, list[tuple[int, int]]]:
        """Frames (from 0) and the segment each shows (0: any), by slice; lost frames under -1."""
        found: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for frame in range(int(self.seg.NumberOfFrames)):
            index, _ = self._slice(frame)
            found[index].append((frame, self._segment(frame)))
        return found

    def _survey(self) -> tuple[dict[int, dict[int, int]], dict[int, dict[str, int]]]:
        """Marked pixels by segment and slice, and by segment how many frames are lost, and why."""
        pixels: dict[int, dict[int, int]] = defaultdict(dict)
        lost: dict[int, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for index, frames in self._placed.items():
            for frame, segment in frames:
                shown = self._values(frame)
                numbers = [segment] if segment else [int(v) for v in np.unique(shown) if v]
                for number in numbers:
                    marked = self._marked(shown, number)
                    if not marked.any():
                        continue
                    if index < 0:
                        lost[number][self._slice(frame)[1]] += 1
                        continue
                    drawn = self.mask(number, index)
                    if drawn.any():
                        pixels[number][index] = int(drawn.sum())
                    else:
                        lost[number]["what it marks lies beside the picture"] += 1
        return pixels, lost

    def mask(self, number: int, index: int) -> Mask:
        """A segment on a slice, in the slice's stored grid."""
        _, rows, columns = self.places.series.shape
        out = np.zeros((rows, columns), dtype=bool)
        for frame, segment in self._placed[index]:
            if segment in (0, number):
                out |= self._on_grid(self._marked(self._values(frame), number), frame, index)
        return out

    def _values(self, frame: int) -> Any:
        return self.seg.get_stored_frame(frame + 1)

    def _marked(self, values: Any, number: int) -> Mask:
        if self._labelmap:
            return np.asarray(values == number)
        if str(self.seg.SegmentationType) == "FRACTIONAL":
            return np.asarray(2 * values.astype(np.int64) >= int(self.seg.MaximumFractionalValue))
        return np.asarray(values > 0)

    def _segment(self, frame: int) -> int:
        value = frame_value(self.seg, frame, "SegmentIdentificationSequence", "ReferencedSegmentNumber")
        return 0 if self._labelmap or value is None else int(str(value))

    def _slice(self, frame: int) -> tuple[int, str]:
        """The slice that a frame lies on; -1 and why where it lies on none."""
        position, axes, _ = self._geometry(frame)
        if position is not None and axes is not None and self.places.series.in_space:
            if abs(float(np.cross(axes[:3], axes[3:]) @ self.places.axes[2])) < _PARALLEL:
                return -1, "it lies across the slices"
            index, away = self.places.at(position)
            return (index, "") if away <= self.places.tolerance else (-1, "there is no image where it lies")
        source = self._source(frame)
        if source is None:
            return -1, "nothing says which image it is of"
        index = self.places.by_instance.get(source, -1)
        return index, "" if index >= 0 else "the image it refers to is not there"

    def _source(self, frame: int) -> tuple[str, int] | None:
        groups = self.seg.PerFrameFunctionalGroupsSequence
        for item in (groups[frame], *self.seg.get("SharedFunctionalGroupsSequence", ())):
            for derivation in item.get("DerivationImageSequence") or ():
                for image in derivation.get("SourceImageSequence") or ():
                    number = image.get("ReferencedFrameNumber") or 1
                    first = number if isinstance(number, int | str) else number[0]
                    return str(image.ReferencedSOPInstanceUID), int(first)
        return None

    def _geometry(self, frame: int) -> tuple[Vector | None, Vector | None, Vector | None]:
        """Position, axes and spacing (rows, columns) of a frame."""
        return (
            vector(frame_value(self.seg, frame, "PlanePositionSequence", "ImagePositionPatient"), 3),
            vector(frame_value(self.seg, frame, "PlaneOrientationSequence", "ImageOrientationPatient"), 6),
            vector(frame_value(self.seg, frame, "PixelMeasuresSequence", "PixelSpacing"), 2),
        )

    def _on_grid(self, marked: Mask, frame: int, index: int) -> Mask:
        _, rows, columns = self.places.series.shape
        position, axes, spacing = self._geometry(frame)
        plane = self.places.series.planes[index]
        if position is None or axes is None or spacing is None or plane.position is None:
            return marked if marked.shape == (rows, columns) else np.zeros((rows, columns), dtype=bool)
        row, column, _ = self.places.axes
        dy, dx = self.places.spacing
        start = plane.position - position
        # Row and column in the segmentation's frame of the slice's first pixel, and steps per slice row and column.
        down, along = axes[3:] / spacing[0], axes[:3] / spacing[1]
        r, c = np.indices((rows, columns), sparse=True)
        seg_r = np.rint(start @ down + r * (dy * column @ down) + c * (dx * row @ down)).astype(np.int64)
        seg_c = np.rint(start @ along + r * (dy * column @ along) + c * (dx * row @ along)).astype(np.int64)
        inside = (seg_r >= 0) & (seg_r < marked.shape[0]) & (seg_c >= 0) & (seg_c < marked.shape[1])
        return inside & marked[seg_r.clip(0, marked.shape[0] - 1), seg_c.clip(0, marked.shape[1] - 1)]


@dataclass(frozen=True, eq=False)
class _Draw:
    reader: SegReader
    number: int

    def __call__(self, index: int) -> Mask:
        return self.reader.mask(self.number, index)
