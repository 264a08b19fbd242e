"""One SOP instance of a series, wherever it comes from: its header, and where its pixels can be had."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from pydicom import Dataset

from medreasoner_monai.dicom.elements import decode
from medreasoner_monai.dicom.pixel_bytes import Element, PixelBytes
from medreasoner_monai.dicom.pixels import PixelCheck, check_pixels, frames

_PIXEL_KEYWORDS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")


class FrameSource(Protocol):
    """Where an instance is read from when one of its frames is looked at: a file, memory, an archive elsewhere."""

    @property
    def name(self) -> str:
        """Names the instance in a message; nothing of the patient."""
        ...

    def load(self) -> Dataset:
        """The whole data set, with the transfer syntax in its ``file_meta``; large pixel data may wait elsewhere.

        The caller does not change it.

        Raises
        ------
        DicomError
            If it cannot be had (any more).
        """
        ...


@dataclass(frozen=True)
class Instance:
    """An instance's data set without pixel data, and what was found when it was read.

    Attributes
    ----------
    source:
        Where the whole of it is.
    header:
        Decoded; pixel data and private elements are left out.
    problem:
        What is wrong with it as an image, or None.
    repairs, notes:
        What was put right, what was noticed; attribute names only.
    pixels:
        Its pixel data; None where they cannot be told.
    several_frames:
        Whether the header claims more than one frame, also where that number is not believed.
    """

    source: FrameSource
    header: Dataset
    problem: str | None
    repairs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    pixels: PixelBytes | None = None
    several_frames: bool = False


def take_pixels(dataset: Dataset) -> Element | None:
    """Take pixel data out as they are, before elements are decoded, which would read them."""
    pixels: Element | None = None
    if "PixelData" in dataset:
        pixels = dataset.get_item("PixelData", keep_deferred=True)
    for keyword in _PIXEL_KEYWORDS:
        if keyword in dataset:
            del dataset[keyword]
    return pixels


def checked_instance(
    source: FrameSource, header: Dataset, pixels: PixelBytes | None, repairs: tuple[str, ...], *, has_pixels: bool
) -> Instance:
    """Decode a header in place and hold its pixel data against it.

    Parameters
    ----------
    header:
        Without pixel data, see :func:`take_pixels`; with ``file_meta``.
    pixels:
        Where they are.
    repairs:
        What was put right already.
    has_pixels:
        Whether there were integer pixel data at all.

    Raises
    ------
    DicomError
        If an element is damaged that decides identity, picture or geometry.
    """
    found = decode(header, source.name)
    if has_pixels:
        check = check_pixels(header, pixels, source.name)
    else:
        check = PixelCheck(f"{source.name}: an image without integer pixel data; export it again as an ordinary image")
    several = frames(header) > 1
    if check.problem and several:
        # Nobody will look at them, and their number may be the lie: billions of frames are not to be counted out.
        header.NumberOfFrames = 1
    said = (*found.notes, *_meta_notes(header), *check.notes)
    return Instance(source, header, check.problem, (*repairs, *found.repairs), said, pixels, several)


def _meta_notes(dataset: Dataset) -> Iterator[str]:
    """The file's own label against its content (PS3.10 7.1)."""
    for label, keyword in (
        ("MediaStorageSOPClassUID", "SOPClassUID"),
        ("MediaStorageSOPInstanceUID", "SOPInstanceUID"),
    ):
        if label in dataset.file_meta and dataset.file_meta[label].value != dataset.get(keyword):
            yield f"{label} differs from {keyword}"
