"""One DICOM file: whether it is one, its header without pixel data, and whether its pixels are all there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medreasoner_monai.dicom.privacy import private
from medreasoner_monai.errors import DicomError

_UNDEFINED_LENGTH = 0xFFFFFFFF
_PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")

_COUNTS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "NumberOfFrames")

_NEEDED = {
    *_COUNTS,
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "PhotometricInterpretation",
    "PixelRepresentation",
}


@dataclass(frozen=True)
class File:
    """A file's data set without pixel data, what is wrong with it as an image, what was put right."""

    path: Path
    header: Dataset
    problem: str | None
    repairs: tuple[str, ...] = ()


def is_dicom(path: Path) -> bool:
    """Whether the file is DICOM by its first bytes; the name says nothing.

    Raises
    ------
    DicomError
        If it cannot be opened.
    """
    start = _start(path)
    return _is_part10(start) or _is_bare(start)


@private()
def read(path: Path) -> Dataset:
    """The whole data set; large elements are fetched from the file when they are used.

    Raises
    ------
    DicomError
        If it cannot be read.
    """
    bare = not _is_part10(_start(path))
    try:
        dataset = dcmread(path, force=bare, defer_size=1 << 20)
    except Exception as error:  # pydicom raises many kinds on damaged files
        raise DicomError(
            f"{path}: the DICOM file is damaged or truncated ({type(error).__name__}); copy it again or remove it"
        ) from error
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, _ = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    return dataset


@private()
def read_header(path: Path) -> File:
    """The data set without pixel data, after a look at how many bytes of it there are.

    Raises
    ------
    DicomError
        As :func:`read`.
    """
    dataset = read(path)
    # Before the elements are decoded, which would read the pixels.
    pixels = dataset.get_item("PixelData", keep_deferred=True) if "PixelData" in dataset else None
    for keyword in _PIXEL_DATA:
        if keyword in dataset:
            del dataset[keyword]
    repairs = _decode_elements(dataset, path)
    _check_numbers(dataset, path)
    problem = _pixel_problem(dataset, pixels, path)
    return File(path, dataset, problem, repairs)


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as f:
            return f.read(132)
    except OSError as error:
        raise DicomError(f"{path}: cannot be opened ({error.strerror}); make it readable or remove it") from None


def _is_part10(start: bytes) -> bool:
    return start[128:132] == b"DICM"


def _is_bare(start: bytes) -> bool:
    """Old archives leave the preamble out: the data set starts at once, with a group 0008 element, little endian."""
    return len(start) == 132 and start[:2] == b"\x08\x00" and start[3:4] == b"\x00"


def _check_numbers(dataset: Dataset, path: Path) -> None:
    """Damaged headers give text where numbers belong; refused here, so that nobody behind has to doubt them."""
    for keyword in _COUNTS:
        try:
            int(dataset.get(keyword) or 0)
        except (TypeError, ValueError, OverflowError):
            raise DicomError(
                f"{path}: {keyword} in the header is not a number; copy the file again or remove it"
            ) from None


def _decode_elements(dataset: Dataset, path: Path) -> tuple[str, ...]:
    """Convert each element from its bytes now: pydicom does it on first use, and fails there when they are damaged."""
    left_out = []
    for tag in list(dataset.keys()):
        try:
            dataset[tag]
        except Exception as error:  # pydicom raises many kinds on damaged elements
            keyword = keyword_for_tag(tag)
            if keyword in _NEEDED:
                raise DicomError(
                    f"{path}: {keyword} in the header is damaged ({type(error).__name__}); "
                    "copy the file again or remove it"
                ) from error
            del dataset[tag]
            left_out.append(f"damaged {keyword or tag} left out")
    return tuple(left_out)


def _pixel_problem(dataset: Dataset, element: DataElement | RawDataElement | None, path: Path) -> str | None:
    if element is None:
        return f"{path}: an image without integer pixel data; export it again as an ordinary image"
    syntax = dataset.file_meta.TransferSyntaxUID
    if not isinstance(element, RawDataElement) or element.length == _UNDEFINED_LENGTH:
        return None  # encapsulated: reading it to the end showed that it is complete
    # A deflated file's size says nothing about the data set in it.
    inflated = syntax == DeflatedExplicitVRLittleEndian
    available = element.length if inflated else min(element.length, path.stat().st_size - element.value_tell)
    missing = max(element.length, _expected(dataset)) - available
    if missing <= 0:
        return None
    return f"{path}: truncated, {missing} bytes of pixel data are missing; copy the file again"


def _expected(dataset: Dataset) -> int:
    """Bytes that uncompressed pixels need; 0 where the header does not tell."""
    try:
        return 0 if dataset.file_meta.TransferSyntaxUID.is_compressed else get_expected_length(dataset)
    except (AttributeError, TypeError, ValueError, KeyError):
        return 0
