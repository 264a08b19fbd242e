"""UIDs that follow from what they name: the same answer is the same object, another answer is another one."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable

from pydicom import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset

_NAMESPACE = uuid.UUID("8e0f2a9c-50f0-4f0b-9d64-3c6f6c2b1c57")
PLACEHOLDER = "2.25.0"
"""The UID of an object that is being built; :func:`identify` replaces it."""
_WHEN = (
    *("ContentDate", "ContentTime", "InstanceCreationDate", "InstanceCreationTime", "SeriesDate", "SeriesTime"),
    *("DateOfSecondaryCapture", "TimeOfSecondaryCapture"),
)
_OWN = ("SOPInstanceUID", "SeriesInstanceUID")
_DIMENSIONS = "DimensionOrganizationUID"
_BULK = "PixelData"


def derived_uid(kind: str, *parts: str) -> str:
    """The UID under ``2.25`` (PS3.5 B.2) that follows from what it names (UUID version 5, RFC 9562).

    >>> derived_uid("device", "a") == derived_uid("device", "a") != derived_uid("device", "b")
    True
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, json.dumps([kind, *parts])).int}"


def identify(dataset: Dataset, kind: str) -> None:
    """Give an object that was just built the UIDs that follow from its content: its own, its series', its dimensions'.

    Everything counts except when it was written: whom and what it is of, what made it, pixels, codes and texts. So an
    answer that is given again has the UID that it had, and an archive that has it keeps one. Two such objects differ
    in their dates and times of writing only.

    Parameters
    ----------
    dataset:
        Built with :data:`PLACEHOLDER` for its SOP Instance and Series Instance UID; changed in place.
    kind:
        What it is, such as ``seg``.
    """
    digest = _digest(dataset)
    dataset.SOPInstanceUID = derived_uid("instance", kind, digest)
    dataset.SeriesInstanceUID = derived_uid("series", kind, digest)
    dimensions = derived_uid("dimensions", kind, digest)
    _each_dimension(dataset, lambda item: setattr(item, _DIMENSIONS, dimensions))
    if hasattr(dataset, "file_meta"):
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def _digest(dataset: Dataset) -> str:
    """SHA-256 of the elements as they are encoded, without what is made new each time."""
    _each_dimension(dataset, lambda item: setattr(item, _DIMENSIONS, PLACEHOLDER))
    content = Dataset()
    content.update(dataset)
    for keyword in (*_WHEN, *_OWN, _BULK):
        content.pop(keyword, None)
    if equipment := content.get("ContributingEquipmentSequence"):
        content.pop("ContributingEquipmentSequence")
        content.ContributingEquipmentSequence = [_timeless(item) for item in equipment]
    encoded = DicomBytesIO()
    encoded.is_little_endian, encoded.is_implicit_VR = True, False
    write_dataset(encoded, content, parent_encoding="utf-8")
    digest = hashlib.sha256(encoded.getvalue())
    digest.update(bytes(dataset.get(_BULK) or b""))
    return digest.hexdigest()


def _timeless(equipment: Dataset) -> Dataset:
    """The item without when it contributed; the item itself is left as it is."""
    copy = Dataset()
    copy.update(equipment)
    copy.pop("ContributionDateTime", None)
    return copy


def _each_dimension(dataset: Dataset, change: Callable[[Dataset], None]) -> None:
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword) or ():
            if _DIMENSIONS in item:
                change(item)
