"""The walk of a de-identification over every element of a data set: what stays, what is changed, what goes."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Sequence
from functools import partial

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VM, dictionary_VR, keyword_for_tag
from pydicom.tag import BaseTag

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom import deidentify_rules as rules
from medreasoner_monai.dicom import deidentify_values as values
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.deidentify_codes import REMOVED, clean_code, clean_scheme
from medreasoner_monai.dicom.deidentify_known import Known

_DEEPEST = 16
_CODED = ("CodeValue", "LongCodeValue", "URNCodeValue", "CodingSchemeDesignator")
_TABLES = {"LUTData": "LUTDescriptor"} | {
    f"{colour}PaletteColorLookupTableData": f"{colour}PaletteColorLookupTableDescriptor"
    for colour in ("Red", "Green", "Blue")
}


class Cleaner:
    """Copies data sets by the rules; UIDs, pseudonym and shift follow from the key.

    Parameters
    ----------
    key:
        Secret bytes.
    dates:
        ``remove`` or ``shift``.
    keep_texts:
        Whether question, trace and descriptions stay.
    source:
        The whole data set: whose it is, and what else must not stay anywhere in it.
    """

    def __init__(self, key: bytes, dates: str, keep_texts: bool, source: Dataset) -> None:
        self._key = key
        self._keep_texts = keep_texts
        self._known = Known.of(source)
        self._by_us = str(source.get("Manufacturer") or "") == provenance.MANUFACTURER
        patient = str(source.get("PatientID") or source.get("StudyInstanceUID") or "")
        self.pseudonym = self._digest("patient", patient).hex()[:16].upper()
        self.days = 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % 3650 if dates == "shift" else 0
        self.removed: set[str] = set()

    def _digest(self, what: str, value: str) -> bytes:
        return hmac.digest(self._key, f"{what} {value}".encode(), "sha256")

    def uid(self, value: object) -> str:
        """The new UID of an instance, series, … (PS3.5 B.2); those that DICOM itself defines stay."""
        text = str(value).strip(" \0")
        if not text or values.defined_uid(text):
            return text
        return f"2.25.{uuid.UUID(bytes=self._digest('uid', text)[:16], version=5).int}"

    def clean(self, dataset: Dataset, *, top: bool = False, depth: int = 0) -> Dataset:
        """A copy of a data set, or of an item of a sequence, with what may stay."""
        out = Dataset()
        for tag in list(dataset.keys()):
            keyword = keyword_for_tag(tag)
            kept = self._element(dataset, tag, keyword, top, depth)
            if kept is None:
                self.removed.add(keyword or str(tag))
            else:
                out.add(kept)
        if any(keyword in dataset for keyword in _CODED):
            if "CodeValue" in dataset or "CodeMeaning" in dataset or any(k in dataset for k in _CODED[1:3]):
                clean_code(dataset, out, self._known)
            else:
                clean_scheme(dataset, out)
        if "ValueType" in dataset and dataset.get("ConceptNameCodeSequence"):
            self._content_item(dataset, out)
        if "SegmentNumber" in dataset:
            self._segment(dataset, out)
        return out

    def _element(self, dataset: Dataset, tag: BaseTag, keyword: str, top: bool, depth: int) -> DataElement | None:
        if tag.is_private or not keyword or tag.group >> 8 in (0x50, 0x60):
            return None
        vr = dictionary_VR(tag)
        if keyword in rules.EMPTIED and top:
            dated = vr in rules.DATE_VRS and self.days and tag.group not in rules.GROUPS
            moved = self._dates(dataset, tag, vr) if dated else None
            return moved or DataElement(tag, vr, [] if vr == "SQ" else None)
        if tag.group in rules.GROUPS or tag.element == 0 or keyword in (rules.REMOVED | rules.PIXELS):
            return None
        if vr == "SQ" and ((top and keyword not in rules.SEQUENCES) or depth >= _DEEPEST):
            return None
        try:
            element = dataset[tag]
            return self._kept(dataset, element, keyword, vr, depth)
        except Exception:  # pydicom raises many kinds on damaged elements; what cannot be read is not copied
            return None

    def _kept(self, dataset: Dataset, element: DataElement, keyword: str, vr: str, depth: int) -> DataElement | None:
        tag, given = element.tag, values.several(element.value)
        if vr == "SQ":
            if element.VR != "SQ":
                return None
            return DataElement(tag, vr, [self.clean(item, depth=depth + 1) for item in element.value])
        if keyword in rules.TABLES:
            return self._table(dataset, element, keyword)
        if vr in rules.DATE_VRS:
            dummy = rules.DUMMY_DATES.get(keyword)
            return self._dates(dataset, tag, vr) or (DataElement(tag, vr, dummy) if dummy else None)
        if not given:
            empty = vr not in rules.PERSONAL_VRS and vr not in rules.BULK_VRS
            return DataElement(tag, vr, None) if empty and " or " not in vr else None
        if not _fits(len(given), dictionary_VM(tag)):
            return None
        if keyword == "DeviceSerialNumber":
            return DataElement(tag, vr, self._digest("serial", str(element.value)).hex()[:16])
        if vr == "UI":
            uids = [self.uid(one) for one in given]
            return DataElement(tag, vr, uids if len(uids) > 1 else uids[0])
        kept = self._values(given, keyword, vr, str(element.VR))
        if kept is None:
            return None
        return DataElement(tag, str(element.VR) if " or " in vr else vr, kept if len(kept) > 1 else kept[0])

    def _values(self, given: Sequence[object], keyword: str, vr: str, stored_vr: str) -> Sequence[object] | None:
        """The values of an attribute that stays, each in the shape of its VR; None where one has not."""
        if vr == "DS":
            return values.each(given, partial(values.decimal, known=self._known))
        if vr == "IS":
            return values.each(given, partial(values.integer, known=self._known))
        if vr == "CS":
            words = [w for w in (values.code_string(v, self._known) for v in given) if w is not None]
            # Image Type's later values are free; the first ones decide and are the standard's.
            return words or ([rules.DUMMY_WORDS[keyword]] if keyword in rules.DUMMY_WORDS else None)
        if vr == "AT":
            return values.each(given, values.tag)
        binary = stored_vr if " or " in vr else vr
        if binary in ("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD") and binary in vr:
            return values.binary(given, binary, self._known)
        if keyword in rules.TEXT and stored_vr == vr:
            return values.each(given, partial(values.text, known=self._known))
        return None

    def _table(self, dataset: Dataset, element: DataElement, keyword: str) -> DataElement | None:
        """A lookup table as long as its descriptor says (PS3.3 C.11.1.1.1), which spells no identifier."""
        descriptor = values.several(dataset.get(_TABLES.get(keyword, "")))
        value = element.value
        if isinstance(value, bytes):
            data, count = value, None
        else:
            numbers = [int(v) for v in values.several(value)]  # type: ignore[call-overload]
            data, count = b"".join(n.to_bytes(2, "little", signed=n < 0) for n in numbers), len(numbers)
        entries = (int(str(descriptor[0])) or 1 << 16) if len(descriptor) == 3 else None
        sizes = (entries, entries + entries % 2, 2 * entries) if entries else ()
        fits = count == entries if count is not None else len(data) in sizes
        return element if fits and not self._known.in_bytes(data) else None

    def _dates(self, dataset: Dataset, tag: BaseTag, vr: str) -> DataElement | None:
        """Dates move, times of day stay; None where nothing is shifted, or a value is no date or time."""
        if not self.days:
            return None
        try:
            given = values.several(dataset[tag].value)
        except Exception:  # as above
            return None
        texts = [str(getattr(v, "original_string", None) or v) for v in given]
        moved = [values.time(t) if vr == "TM" else values.shifted(t, self.days) for t in texts]
        if not moved or any(m is None for m in moved):
            return None
        return DataElement(tag, vr, moved if len(moved) > 1 else moved[0])

    def _content_item(self, item: Dataset, out: Dataset) -> None:
        """The value of an SR content item (PS3.15 E.3.4); codes, numbers, images and coordinates came along already."""
        name = item.ConceptNameCodeSequence[0]
        concept = (str(name.get("CodingSchemeDesignator")), str(name.get("CodeValue")))
        kind, text = str(item.ValueType), str(item.get("TextValue") or "")
        if kind == "TEXT":
            technical = concept in rules.SR_TEXT and self._by_us and values.text(text, self._known, 1024) is not None
            notice = concept == rules.SR_NOTICE and text == RESEARCH_USE
            out.TextValue = text if technical or self._keep_texts or notice else REMOVED
            if concept == rules.SR_SERIAL:
                out.TextValue = self._digest("serial", text).hex()[:16]
        elif kind == "PNAME":
            out.PersonName = REMOVED
        elif kind == "DATE":
            out.Date = values.shifted(str(item.get("Date") or ""), self.days) or "19000101"
        elif kind == "TIME":
            out.Time = (values.time(str(item.get("Time") or "")) if self.days else None) or "000000"
        elif kind == "DATETIME":
            out.DateTime = values.shifted(str(item.get("DateTime") or ""), self.days) or "19000101000000"
        _name_by_uid(out)

    def _segment(self, segment: Dataset, out: Dataset) -> None:
        """Label and description are free text; the coded type, as it was cleaned, says what the segment is."""
        kind = (out.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
        meaning = str(kind.get("CodeMeaning") or REMOVED)
        out.SegmentLabel = meaning[:64] if meaning != REMOVED else f"Segment {out.get('SegmentNumber', '')}".strip()
        if self._keep_texts and "SegmentDescription" in segment:
            out.SegmentDescription = segment.SegmentDescription
        if "TrackingUID" in out:
            out.TrackingID = _tracking_id(str(out.TrackingUID))


def _name_by_uid(container: Dataset) -> None:
    """The tracking identifier of a group follows from its UID, as in the segmentation."""
    found = {}
    for child in container.get("ContentSequence") or []:
        name = child.ConceptNameCodeSequence[0] if child.get("ConceptNameCodeSequence") else Dataset()
        found[str(name.get("CodingSchemeDesignator")), str(name.get("CodeValue"))] = child
    identifier, number = found.get(rules.SR_TRACKING_ID), found.get(rules.SR_TRACKING_UID)
    if identifier is not None and number is not None and "UID" in number:
        identifier.TextValue = _tracking_id(str(number.UID))


def _tracking_id(uid: str) -> str:
    return f"Finding {uid[-8:]}"


def _fits(count: int, multiplicity: str) -> bool:
    """Whether so many values are allowed (PS3.6: ``1``, ``1-3``, ``2-2n``); 0 always are."""
    most = multiplicity.split("-")[-1]
    return not most.isdecimal() or count <= int(most)
