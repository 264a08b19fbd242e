"""The elements of a header, each converted from its bytes now: pydicom does it on first use, and would fail there.

What is damaged is left out and said, or refused where nothing can be done without it. What the standard does not allow
but can be read is noted: a flipped bit in a tag turns a known attribute into an unknown one, or breaks the order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from math import isfinite

from pydicom import Dataset
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, repeater_has_tag
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

from medreasoner_monai.errors import DicomError

COUNTS = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "NumberOfFrames")

_NEEDED = {
    *COUNTS,
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
    "PlanarConfiguration",
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
}
_SINGLE = {
    *COUNTS,
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "PhotometricInterpretation",
    "PixelRepresentation",
    "PlanarConfiguration",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "VOILUTFunction",
    "SliceThickness",
    "SpacingBetweenSlices",
}
_NUMBERS = {"DS", "IS", "FL", "FD", "US", "SS", "UL", "SL"}
_DEEPEST = 16
# What writers use for one another without harm (PS3.5 6.2; unknown VRs are told from the dictionary).
_INTERCHANGED = ({"OB", "OW"}, {"US", "SS"}, {"LO", "SH"}, {"ST", "LT", "UT"}, {"IS", "DS"}, {"UL", "SL"})


class _WrongValueError(ValueError):
    """Its message completes "the attribute is …"; it never has a value in it."""


@dataclass
class Elements:
    """What was found while the elements were decoded; attribute names only."""

    repairs: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def decode(dataset: Dataset, source: str) -> Elements:
    """Convert every element, in sequences too; damaged ones are taken out of ``dataset``.

    Private elements at the top level are taken out as well, unread: nothing here uses them, they can be most of a
    header, and nobody knows what they say about a patient. ``source`` names the instance in a message.

    Raises
    ------
    DicomError
        If an element is damaged that decides identity, picture or geometry, or a count is not a number.
    """
    found = Elements()
    found.notes += _oddities(dataset)
    for tag in [t for t in dataset.keys() if t.is_private]:  # noqa: SIM118 - iterating a data set decodes it
        del dataset[tag]
    _decode_all(dataset, source, found, 0)
    found.repairs[:] = dict.fromkeys(found.repairs)
    return found


def _decode_all(dataset: Dataset, source: str, found: Elements, depth: int) -> None:
    if depth > _DEEPEST:
        raise DicomError(
            f"{source}: sequences in the header are nested deeper than {_DEEPEST} levels, which no image needs; "
            "the file is damaged, copy it again or remove it"
        )
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            items = list(element.value) if element.VR == "SQ" else []
            _check_value(element)
        except Exception as error:  # pydicom raises many kinds on damaged elements
            keyword = keyword_for_tag(tag)
            if keyword in _NEEDED:
                why = str(error) if isinstance(error, _WrongValueError) else f"damaged ({type(error).__name__})"
                raise DicomError(
                    f"{source}: {keyword} in the header is {why}; copy the file again or remove it"
                ) from error
            del dataset[tag]
            found.repairs.append(f"damaged {keyword or tag} left out")
            continue
        for item in items:
            _decode_all(item, source, found, depth + 1)


def _check_value(element: DataElement) -> None:
    """What pydicom lets pass: text, infinity or several values where one number belongs.

    Raises
    ------
    _WrongValueError
        If it is not what the attribute may hold.
    """
    value = element.value
    many = list(value) if isinstance(value, MultiValue | list) else [value]
    if element.keyword in _SINGLE and len(many) != 1:
        raise _WrongValueError("not a single value")
    usual = dictionary_VR(element.tag) if element.keyword else element.VR
    if "SQ" in (usual, element.VR) and usual != element.VR:
        raise _WrongValueError("not a sequence" if usual == "SQ" else "a sequence")
    if usual in _NUMBERS:
        for each in many:
            if each is None:
                continue
            if isinstance(each, BaseTag) or not (isinstance(each, int | float | Decimal) and isfinite(each)):
                raise _WrongValueError("not a number")
            if element.keyword in COUNTS and each != int(each):
                raise _WrongValueError("not a whole number")


def _oddities(dataset: Dataset) -> Iterator[str]:
    """What the standard rules out at the top level: order (PS3.5 7.1), tags and VRs (PS3.6)."""
    last, ordered = -1, True
    for tag in sorted(dataset.keys()):
        element: DataElement | RawDataElement = dataset.get_item(tag, keep_deferred=True)
        tell = element.value_tell if isinstance(element, RawDataElement) else element.file_tell
        if tell is not None:
            ordered, last = ordered and tell > last, max(tell, last)
        if tag.is_private or tag.element == 0:
            continue
        if not (dictionary_has_tag(tag) or repeater_has_tag(tag)):
            yield f"unknown attribute {tag}"
        elif isinstance(element, RawDataElement) and not _expected_vr(tag, element):
            yield f"{keyword_for_tag(tag)} has another VR than the standard gives it"
    if not ordered:
        yield "the header's elements are not in ascending order"


def _expected_vr(tag: BaseTag, element: RawDataElement) -> bool:
    if element.is_implicit_VR or element.VR in (None, "UN"):
        return True
    usual = set(dictionary_VR(tag).split(" or "))
    return element.VR in usual or any(element.VR in group and usual & group for group in _INTERCHANGED)
