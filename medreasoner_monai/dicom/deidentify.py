"""A research export: SEG, SR, SC and ordinary images without who the patient is (PS3.15 Annex E, Basic Profile).

With the same key, the same UID always becomes the same new one and the same patient the same pseudonym: files exported
one by one still refer to each other. Without the key nobody can tell which they were. What the pictures show is not
looked at; see ``docs/dicom-out.md`` for that and the other limits.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from pydicom import DataElement, Dataset
from pydicom.dataset import FileMetaDataset

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.dicom import deidentify_rules as rules
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.files import read
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.errors import DicomError, InputError

REMOVED_TEXT = "removed"
_KEY_BYTES = 16
_DICOM_ROOT = "1.2.840.10008."
_SAFE_MODALITIES = {"CT", "MR", "PT", "NM", "SEG"}
_BASIC, _CLEAN_CONTENT, _MODIFIED_DATES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113104", "Clean Structured Content Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)


@dataclass(frozen=True)
class Deidentified:
    """What became of a file: its new SOP Instance UID, and which attributes went, by keyword or tag."""

    sop_instance_uid: str
    removed: tuple[str, ...]


def deidentify(
    path_in: Path,
    path_out: Path,
    *,
    key: bytes,
    dates: Literal["remove", "shift"] = "remove",
    keep_texts: bool = False,
    pixels_checked: bool = False,
) -> Deidentified:
    """Write a copy without identifying attributes; the file is written beside its final name and renamed.

    Parameters
    ----------
    path_in:
        A Segmentation, a Structured Report, a Secondary Capture or another image.
    path_out:
        The file to write; an existing one is replaced.
    key:
        At least 16 secret bytes, the same for all files that belong together.
    dates:
        ``remove`` empties them; ``shift`` moves those of a patient back by the same 1 to 3650 days.
    keep_texts:
        Keep question, reasoning trace and reasons. Only where somebody read them: they are free text.
    pixels_checked:
        Somebody looked at the picture, and nothing written in it says who the patient is.

    Raises
    ------
    InputError
        If the key is too short.
    DicomError
        If the file cannot be read, is neither image nor report, or its pixels may show who the patient is and
        ``pixels_checked`` is not given.
    """
    if len(key) < _KEY_BYTES:
        raise InputError(
            f"the key has {len(key)} bytes, at least {_KEY_BYTES} are needed; take secrets.token_bytes(32)"
        )
    dataset = read(path_in)
    _check(dataset, path_in, pixels_checked)
    patient = str(dataset.get("PatientID") or dataset.get("StudyInstanceUID") or "")
    cleaner = _Cleaner(key, dates, keep_texts, patient)
    out = cleaner.clean(dataset, top=True)
    _mark(out, cleaner, is_report="ContentSequence" in dataset)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = dataset.file_meta.TransferSyntaxUID
    out.file_meta = meta
    save(out, path_out)
    return Deidentified(str(out.SOPInstanceUID), tuple(sorted(cleaner.removed)))


def _check(dataset: Dataset, path: Path, pixels_checked: bool) -> None:
    has_pixels = any(k in dataset for k in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    if not has_pixels and "ContentSequence" not in dataset:
        raise DicomError(f"{path}: is neither an image nor a structured report; only those are exported")
    burned_in = dataset.get("BurnedInAnnotation")
    safe = burned_in == "NO" or (burned_in is None and dataset.get("Modality") in _SAFE_MODALITIES)
    if has_pixels and not safe and not pixels_checked:
        raise DicomError(
            f"{path}: its picture may have text in it (BurnedInAnnotation is {'YES' if burned_in else 'not said'}); "
            "look at it, and pass pixels_checked=True when nothing in it says who the patient is"
        )


def _mark(out: Dataset, cleaner: _Cleaner, *, is_report: bool) -> None:
    """Say what was done (PS3.3 C.7.1.1, C.12.1)."""
    import highdicom as hd

    out.SpecificCharacterSet = provenance.UTF_8
    out.PatientName, out.PatientID = cleaner.pseudonym, cleaner.pseudonym
    out.PatientIdentityRemoved = "YES"
    out.LongitudinalTemporalInformationModified = "MODIFIED" if cleaner.days else "REMOVED"
    out.DeidentificationMethod = f"{provenance.MANUFACTURER} {__version__}"
    methods = [_BASIC, *([_CLEAN_CONTENT] if is_report else []), *([_MODIFIED_DATES] if cleaner.days else [])]
    out.DeidentificationMethodCodeSequence = [hd.sr.CodedConcept(value, "DCM", name) for value, name in methods]
    out.SeriesDescription = RESEARCH_USE[:64].rsplit(".", 1)[0]


class _Cleaner:
    """Copies data sets by the rules; UIDs, pseudonym and shift follow from the key."""

    def __init__(self, key: bytes, dates: str, keep_texts: bool, patient: str) -> None:
        self._key = key
        self._keep_texts = keep_texts
        self.pseudonym = self._digest("patient", patient).hex()[:16].upper()
        self.days = 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % 3650 if dates == "shift" else 0
        self.removed: set[str] = set()

    def _digest(self, what: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{what} {value}".encode(), "sha256")

    def uid(self, value: str) -> str:
        """The new UID of an instance, series, … (PS3.5 B.2); those that DICOM itself defines stay."""
        if not value or value.startswith(_DICOM_ROOT):
            return value
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', value)[:16], version=5).int}"

    def clean(self, dataset: Dataset, *, top: bool = False) -> Dataset:
        out = Dataset()
        for element in dataset:
            kept = self._element(element, top)
            if kept is None:
                self.removed.add(element.keyword or str(element.tag))
            else:
                out.add(kept)
        if "ValueType" in dataset and "ConceptNameCodeSequence" in dataset:
            self._content_item(dataset, out)
        if "SegmentNumber" in dataset:
            self._segment(dataset, out)
        return out

    def _element(self, element: DataElement, top: bool) -> DataElement | None:
        keyword, vr, value = element.keyword, str(element.VR), element.value
        if vr in rules.DATE_VRS and self.days and element.tag.group not in rules.GROUPS:
            return self._shifted(element)
        if keyword in rules.EMPTIED and top:
            return DataElement(element.tag, vr, [] if vr == "SQ" else None)
        if element.tag.is_private or element.tag.group in rules.GROUPS or element.tag.group >> 8 in (0x50, 0x60):
            return None
        if keyword in rules.REMOVED or not keyword:
            return None
        if keyword == "DeviceSerialNumber":
            return DataElement(element.tag, vr, self._digest("serial", str(value)).hex()[:16])
        if vr == "SQ":
            if top and keyword not in rules.SEQUENCES:
                return None
            return DataElement(element.tag, vr, [self.clean(item) for item in value])
        if vr == "UI":
            return element if keyword in rules.DEFINED_UIDS else DataElement(element.tag, vr, _each(value, self.uid))
        if vr in rules.DATE_VRS:
            dummy = rules.DUMMY_DATES.get(keyword)
            return DataElement(element.tag, vr, dummy) if dummy else None
        unwanted = (vr in rules.PERSONAL_VRS and keyword not in rules.TEXT) or (
            vr in rules.BULK_VRS and keyword not in rules.PIXELS
        )
        return None if unwanted else element

    def _shifted(self, element: DataElement) -> DataElement | None:
        """Dates move, times of day stay; what is no date goes."""
        if element.VR == "TM" or not element.value:
            return element
        moved = _each(element.value, lambda text: shifted(text, self.days))
        return DataElement(element.tag, element.VR, moved) if moved is not None else None

    def _content_item(self, item: Dataset, out: Dataset) -> None:
        """The value of an SR content item (PS3.15 E.3.4); codes, numbers, images and coordinates came along already."""
        name = item.ConceptNameCodeSequence[0]
        concept = (str(name.get("CodingSchemeDesignator")), str(name.get("CodeValue")))
        kind, value = item.ValueType, str(item.get("TextValue") or "")
        if kind == "TEXT":
            keep = (
                concept in rules.SR_TEXT or self._keep_texts or (concept == rules.SR_NOTICE and value == RESEARCH_USE)
            )
            out.TextValue = value if keep else REMOVED_TEXT
            if concept == rules.SR_SERIAL:
                out.TextValue = self._digest("serial", value).hex()[:16]
        elif kind == "PNAME":
            out.PersonName = REMOVED_TEXT
        elif kind == "DATE":
            out.Date = shifted(str(item.get("Date") or ""), self.days) or "19000101"
        elif kind == "TIME":
            out.Time = item.Time if self.days else "000000"
        elif kind == "DATETIME":
            out.DateTime = shifted(str(item.get("DateTime") or ""), self.days) or "19000101000000"
        self._tracking(out)

    def _tracking(self, container: Dataset) -> None:
        """The tracking identifier of a group follows from its UID, as in the segmentation."""
        found = {}
        for child in container.get("ContentSequence") or []:
            name = child.ConceptNameCodeSequence[0] if child.get("ConceptNameCodeSequence") else Dataset()
            found[str(name.get("CodingSchemeDesignator")), str(name.get("CodeValue"))] = child
        identifier, number = found.get(rules.SR_TRACKING_ID), found.get(rules.SR_TRACKING_UID)
        if identifier is not None and number is not None and "UID" in number:
            identifier.TextValue = _tracking_id(str(number.UID))

    def _segment(self, segment: Dataset, out: Dataset) -> None:
        """Label and description are free text; the coded type says what the segment is."""
        kind = (segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
        out.SegmentLabel = str(kind.get("CodeMeaning") or f"Segment {segment.SegmentNumber}")[:64]
        if self._keep_texts and "SegmentDescription" in segment:
            out.SegmentDescription = segment.SegmentDescription
        if "TrackingUID" in out:
            out.TrackingID = _tracking_id(str(out.TrackingUID))


def _tracking_id(uid: str) -> str:
    return f"Finding {uid[-8:]}"


def _each(value: object, change: Callable[[str], str | None]) -> list[str | None] | str | None:
    """The change of a value, or of each of several."""
    if isinstance(value, str) or not hasattr(value, "__iter__"):
        return change(str(value or ""))
    return [change(str(v)) for v in value]


def shifted(text: str, days: int) -> str | None:
    """A DA or DT so many days earlier, its time and zone as they are; None where it is none, or nothing is shifted.

    >>> shifted("20240301", 1), shifted("20240301083000.5+0100", 366)
    ('20240229', '20230301083000.5+0100')
    """
    try:
        day = datetime.strptime(text[:8], "%Y%m%d")
    except ValueError:
        return None
    return f"{day - timedelta(days=days):%Y%m%d}{text[8:]}" if days else None
