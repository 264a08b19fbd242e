"""Data sets in memory as instances of a series: what a server received, or what another program holds.

They are copied, so that what is repaired here is not changed there; pixel data are shared, not copied.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import RawDataElement
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medreasoner_monai.dicom.elements import decode
from medreasoner_monai.dicom.instance import Instance, checked_instance, take_pixels
from medreasoner_monai.dicom.pixel_bytes import Element, PixelBytes, locate_in_file, locate_in_memory
from medreasoner_monai.dicom.pixels import name
from medreasoner_monai.errors import DicomError

_PIXELS = 0x7FE0


@dataclass(frozen=True, eq=False)
class MemorySource:
    """A data set in memory, decoded."""

    name: str
    dataset: Dataset

    def load(self) -> Dataset:
        """The data set."""
        return self.dataset


def from_dataset(dataset: Dataset) -> Instance:
    """An instance of a data set in memory, which is left as it is.

    Parameters
    ----------
    dataset:
        With pixel data; with the transfer syntax in its ``file_meta``, which is guessed where it is not there.

    Raises
    ------
    DicomError
        If an element is damaged that decides identity, picture or geometry, or how the pixels are stored.
    """
    source = name(dataset)
    header, repairs = _copy(dataset)
    pixels = take_pixels(header)
    whole = deepcopy(header)
    decode(whole, source)
    if pixels is not None:
        whole[pixels.tag] = pixels
    instance = MemorySource(source, whole)
    return checked_instance(instance, header, _locate(whole, pixels), repairs, has_pixels=pixels is not None)


def _locate(dataset: Dataset, pixels: Element | None) -> PixelBytes | None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if isinstance(pixels, RawDataElement) and pixels.value is None:  # left in the file that the data set was read from
        return locate_in_file(pixels, Path(str(dataset.filename)), deflated=False)
    return locate_in_memory(pixels, encapsulated=syntax.is_transfer_syntax and syntax.is_encapsulated)


def _copy(dataset: Dataset) -> tuple[Dataset, tuple[str, ...]]:
    """All elements but their pixel data copied deeply, with a ``file_meta``, and what had to be guessed."""
    copy = Dataset()
    for tag in dataset.keys():  # noqa: SIM118 - iterating a data set decodes it
        element: Element = dataset.get_item(tag, keep_deferred=True)
        if tag.is_private:
            continue
        if tag.group != _PIXELS:
            if isinstance(element, RawDataElement) and element.value is None:
                element = dataset[tag]
            element = deepcopy(element)
        copy[tag] = element
    implicit, little = dataset.original_encoding
    copy.set_original_encoding(implicit, little, dataset.original_character_set)
    if (path := getattr(dataset, "filename", None)) is not None:
        copy.filename = path
    copy.file_meta, repairs = _copy_meta(getattr(dataset, "file_meta", None) or Dataset())
    if syntax := copy.file_meta.get("TransferSyntaxUID"):
        if not isinstance(syntax, UID):
            raise DicomError(f"{name(copy)}: the transfer syntax in its file meta information is not a UID; set it")
        return copy, repairs
    copy.file_meta.pop("TransferSyntaxUID", None)
    big = little is False
    plain = ExplicitVRBigEndian if big else ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    copy.file_meta.TransferSyntaxUID = plain
    return copy, (*repairs, "missing TransferSyntaxUID guessed from the data")


def _copy_meta(meta: Dataset) -> tuple[FileMetaDataset, tuple[str, ...]]:
    copy, damaged = FileMetaDataset(), []
    for tag in meta.keys():  # noqa: SIM118 - as above
        try:
            copy[tag] = deepcopy(meta[tag])
        except Exception:  # pydicom raises many kinds on damaged elements
            damaged.append(f"damaged {keyword_for_tag(tag) or tag} left out")
    return copy, tuple(damaged)
