"""What a data set says of persons and places, to be recognised in values that would otherwise stay."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag

from medreasoner_monai.dicom import provenance

_IDENTIFYING_VRS = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "AE", "AS", "UR"}
# Besides all of the patient's and the visit's groups; names (PN) and dates count wherever they stand.
_GROUPS = {0x0010, 0x0032, 0x0038}
_KEYWORDS = {
    "AccessionNumber",
    "StudyID",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "SourceApplicationEntityTitle",
    "RequestingPhysician",
    "PersonAddress",
    "PersonTelephoneNumbers",
}
_WORDS = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"\d+")
_SHORTEST_ID, _SHORTEST_NAME, _SHORTEST_WORD, _SHORTEST_NUMBER = 4, 3, 5, 6
_DEEPEST = 16


@dataclass(frozen=True)
class Known:
    """Identifiers of one data set.

    Attributes
    ----------
    whole:
        Values of at least four characters, in lower case; found anywhere in a text.
    words:
        Parts of names and longer words of the rest, in lower case; found as words.
    """

    whole: frozenset[str]
    words: frozenset[str]

    @classmethod
    def of(cls, dataset: Dataset) -> Known:
        """Collect what identifying attributes hold, in sequences too; private elements are not read."""
        whole: set[str] = set()
        words: set[str] = set()
        for vr, text in _values(dataset, 0):
            if text == provenance.CONTENT_CREATOR:
                continue
            folded = text.casefold().strip(" \0^")
            if len(folded) >= _SHORTEST_ID:
                whole.add(folded)
            shortest = _SHORTEST_NAME if vr == "PN" else _SHORTEST_WORD
            words.update(w for w in _WORDS.findall(folded) if len(w) >= shortest)
        return cls(frozenset(whole), frozenset(words))

    def in_text(self, text: str) -> bool:
        """Whether a text holds one of them."""
        folded = text.casefold()
        return any(value in folded for value in self.whole) or not self.words.isdisjoint(_WORDS.findall(folded))

    def in_number(self, text: str) -> bool:
        """Whether a number, as text, holds the digits of one of them."""
        digits = "".join(_DIGITS.findall(text))
        return len(digits) >= _SHORTEST_NUMBER and any(
            value in digits for value in self.whole | self.words if value.isdecimal() and len(value) >= _SHORTEST_NUMBER
        )

    def in_bytes(self, data: bytes) -> bool:
        """Whether the bytes of binary numbers spell one of them, in either byte order of 16 bits."""
        turned = bytearray(data[: len(data) // 2 * 2])
        turned[::2], turned[1::2] = turned[1::2], turned[::2]
        texts = [bytes(d).decode("latin-1").casefold() for d in (data, turned)]
        long = [v for v in self.whole | self.words if len(v) >= _SHORTEST_ID]
        return any(value in text for text in texts for value in long)


def _values(dataset: Dataset, depth: int) -> Iterator[tuple[str, str]]:
    if depth > _DEEPEST:
        return
    for tag in list(dataset.keys()):
        keyword = keyword_for_tag(tag)
        if tag.is_private or not keyword:
            continue
        try:
            vr = dictionary_VR(tag)
            if vr == "SQ":
                for item in dataset[tag].value or ():
                    yield from _values(item, depth + 1)
                continue
            date = vr == "DA" and (tag.group in _GROUPS or "Birth" in keyword)
            if not (vr == "PN" or date or (vr in _IDENTIFYING_VRS and (tag.group in _GROUPS or keyword in _KEYWORDS))):
                continue
            value = dataset[tag].value
        except Exception:  # pydicom raises many kinds on damaged elements, which go anyway
            continue
        many = value if isinstance(value, list) or hasattr(value, "append") else [value]
        yield from ((vr, str(one)) for one in many if one is not None)
