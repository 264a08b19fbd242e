"""A series of images: headers in slice order, where each slice lies, and what had to be repaired or was noticed."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom import placement
from medreasoner_monai.dicom.display import render
from medreasoner_monai.dicom.hanging import hang
from medreasoner_monai.dicom.identity import check_unchanged
from medreasoner_monai.dicom.instance import FrameSource
from medreasoner_monai.dicom.pixels import frames
from medreasoner_monai.dicom.placement import Plane
from medreasoner_monai.dicom.rules import AS_STORED, Rule
from medreasoner_monai.dicom.spacing import calibrated_spacing, pixel_spacing
from medreasoner_monai.dicom.values import frame_value
from medreasoner_monai.dicom.view import FrameReference, Orientation, View

_SHORT = 12
_UID = re.compile(r"[0-9.]{1,64}(#\d+)?")


@dataclass(frozen=True)
class Series:
    """One series of images, its slices in order. A multi-frame image counts each of its frames as a slice.

    Attributes
    ----------
    uid:
        Series Instance UID.
    headers:
        One repaired data set an instance, without pixel data, in slice order.
    sources:
        Where their data sets with pixel data are, in the same order.
    repairs:
        What had to be put right in memory; no patient data.
    problems:
        Instances that cannot be used, with the reason; a series that has any is not chosen.
    notes:
        What was noticed and needed no repair: a gap, a tilted gantry, padding, a window that is missing. No patient
        data.
    planes:
        Each slice's file, frame and place, in slice order; by default frame by frame as the files have them.
    part:
        What tells this part from others of the same series that lie in the same places, such as
        ``EchoTime, 1 of 2``; empty for a series of one part.
    number_of_part:
        Counted from 1; 0 for a series of one part. ``UID#2`` chooses the second.
    because:
        Why this series was chosen; empty before.
    set_aside:
        Damaged instances that were left out, by name and with the reason: the series is not whole.
    """

    uid: str
    headers: tuple[Dataset, ...]
    sources: tuple[FrameSource, ...]
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    planes: tuple[Plane, ...] = ()
    part: str = ""
    number_of_part: int = 0
    because: str = ""
    set_aside: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.planes:
            planes = [p for i, header in enumerate(self.headers) for p in placement.planes_of(header, i)]
            object.__setattr__(self, "planes", tuple(planes))

    @property
    def modality(self) -> str:
        """Such as ``CT``; ``OT`` where the header has no such short code."""
        value = str(self.headers[0].get("Modality") or "OT")
        return value if value.isascii() and value.isalnum() and len(value) <= 8 else "OT"

    @property
    def number(self) -> int | None:
        """Series Number, where there is a readable one."""
        try:
            return int(self.headers[0].SeriesNumber)
        except (AttributeError, TypeError, ValueError):
            return None

    @property
    def key(self) -> str:
        """What chooses exactly this series or part: the UID, with ``#`` and the part's number."""
        return f"{self.uid}#{self.number_of_part}" if self.number_of_part else self.uid

    @property
    def name(self) -> str:
        """For messages: the file, or the first of several; never a value that tells of the patient."""
        more = len(self.sources) - 1
        return self.sources[0].name + (f" and {more} more" if more else "")

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(slices, rows, columns)``."""
        return (len(self), int(self.headers[0].Rows), int(self.headers[0].Columns))

    def __len__(self) -> int:
        """Number of slices: files, or frames of a multi-frame image."""
        return len(self.planes)

    def locate(self, index: int) -> tuple[int, int]:
        """File and frame (both from 0) of the slice at ``index`` (from 0)."""
        if not 0 <= index < len(self):
            raise IndexError("slice index beyond the series")
        plane = self.planes[index]
        return plane.file, plane.frame

    def sop_instance_uid(self, index: int) -> str:
        """SOP Instance UID of the object that holds the slice."""
        return str(self.headers[self.locate(index)[0]].SOPInstanceUID)

    def load(self, index: int) -> tuple[Dataset, int]:
        """The data set with pixel data that holds the slice, and the slice's frame in it (from 0).

        Large pixel data stay in the file until a frame is rendered; then only that frame is read.

        Raises
        ------
        DicomError
            If it cannot be read (any more), or is another instance or another patient's by now.
        """
        number, frame = self.locate(index)
        source = self.sources[number]
        dataset = source.load()
        check_unchanged(dataset, self.headers[number], source.name)
        return dataset, frame

    def orientation(self, index: int) -> Orientation:
        """The canonical view of the slice at ``index``: see :mod:`medreasoner_monai.dicom.hanging`.

        All slices of a stack in space are turned alike.
        """
        plane = self.planes[0 if self.in_space else index]
        return hang(self.headers[plane.file], plane.frame, plane.axes)

    def view(self, index: int, rule: Rule = AS_STORED, *, values: bool = False) -> View:
        """The slice at ``index`` (from 0) as a model sees it; with its ``values`` before windowing where asked for.

        Raises
        ------
        DicomError
            As :meth:`load` and :func:`~medreasoner_monai.dicom.display.render`.
        """
        dataset, frame = self.load(index)
        shown = render(dataset, frame, rule)
        plane = self.planes[index]
        header = self.headers[plane.file]
        orientation = self.orientation(index)
        spacing = calibrated_spacing(header, frame)
        if spacing is not None and orientation.transposed:
            spacing = replace(spacing, row=spacing.column, column=spacing.row)
        kept = orientation.turn(shown.grey.unwindowed) if values and shown.grey is not None else None
        return View(
            np.ascontiguousarray(orientation.turn(shown.pixels)),
            rule,
            shown.voi,
            self.modality,
            index,
            orientation,
            spacing,
            FrameReference(self.uid, str(header.SOPInstanceUID), frame),
            None if kept is None else np.ascontiguousarray(kept, dtype=np.float32),
        )

    @cached_property
    def in_space(self) -> bool:
        """Whether each slice has a place in the patient's space, all with one orientation."""
        return placement.in_space(self.planes)

    @property
    def has_frame_of_reference(self) -> bool:
        """Whether the slices are in space, in a frame of reference of the patient that other objects can name."""
        return self.in_space and bool(self.headers[0].get("FrameOfReferenceUID"))

    @cached_property
    def spacing(self) -> tuple[float, float] | None:
        """Millimetres between rows and between columns, or None where nothing can be measured.

        Only Pixel Spacing counts: what lies at the detector of a projection X-ray is not what lies in the patient.
        """
        first = self.planes[0]
        return pixel_spacing(self.headers[first.file], first.frame)

    @cached_property
    def slice_distance(self) -> float | None:
        """Millimetres between neighbouring slices along their normal (the median), else their thickness, else None."""
        apart = placement.distance(self.planes)
        if apart is not None or (len(self) > 1 and self.in_space):
            return apart  # several slices in one place have no distance
        return self._thickness("SpacingBetweenSlices") or self._thickness("SliceThickness")

    @property
    def voxel_ml(self) -> float | None:
        """Volume of a voxel in millilitres, or None where spacing or slice distance is unknown (a projection X-ray)."""
        if self.spacing is None or not self.slice_distance:
            return None
        return self.spacing[0] * self.spacing[1] * self.slice_distance / 1000

    def position(self, index: int) -> tuple[float, float, float] | None:
        """Centre of the slice's first pixel in the patient's coordinates (mm), or None where it is not known."""
        self.locate(index)
        at = self.planes[index].position
        return None if at is None else (float(at[0]), float(at[1]), float(at[2]))

    def in_stored_order(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Slices put back to how the files hold them, for writers that take ``headers`` as source images.

        Parameters
        ----------
        values:
            ``(slices, …)`` in slice order.

        Returns
        -------
        ``(frames of all files, …)``; a frame that is no slice of this part is zero.
        """
        counts = [frames(h) for h in self.headers]
        start = np.concatenate([[0], np.cumsum(counts)])
        rows = [int(start[p.file]) + p.frame for p in self.planes]
        if rows == list(range(int(start[-1]))):
            return values
        stored = np.zeros((int(start[-1]), *values.shape[1:]), dtype=values.dtype)
        stored[rows] = values
        return stored

    def summary(self) -> str:
        """One line for a list to choose from; nothing in it is free text of the file."""
        count, rows, columns = self.shape
        number = "?" if self.number is None else self.number
        key = self.key if _UID.fullmatch(self.key) else "invalid UID"
        line = f"…{key[-_SHORT:]}  {self.modality}  {count} image(s)  {columns} x {rows}  series number {number}"
        return f"{line}  ({self.part})" if self.part else line

    def explain(self) -> str:
        """Which series this is, why it was chosen, what was repaired and what was noticed; a few lines."""
        lines = [self.summary(), *([f"chosen: {self.because}"] if self.because else [])]
        lines += [f"repaired: {what}" for what in self.repairs]
        lines += [f"noticed: {what}" for what in self.notes]
        lines += [f"set aside: {what}" for what in self.set_aside]
        return "\n".join(lines)

    def _thickness(self, keyword: str) -> float | None:
        first = self.planes[0]
        value = frame_value(self.headers[first.file], first.frame, "PixelMeasuresSequence", keyword)
        try:
            size = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
        return size if np.isfinite(size) and size > 0 else None
