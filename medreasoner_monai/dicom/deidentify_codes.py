"""Coded entries (PS3.3 8.8) of a copy: values of the shape of their scheme, meanings from a dictionary."""

from __future__ import annotations

import re
from functools import cache

from pydicom import Dataset
from pydicom.sr.codedict import Collection, codes

from medreasoner_monai.dicom import concepts
from medreasoner_monai.dicom import deidentify_words as vocabulary
from medreasoner_monai.dicom.deidentify_known import Known
from medreasoner_monai.task.taxonomy import TAXONOMY, Code, Codes

REMOVED = "removed"
_VERSION = re.compile(r"[0-9.:-]{1,16}")
_NUMBER = re.compile(r"\d{1,18}")
_SHAPES = {
    "SCT": _NUMBER,
    "DCM": re.compile(r"\d{6}|[A-Z0-9_]{2,16}"),
    "LN": re.compile(r"\d{1,7}-\d"),
    "UCUM": re.compile(r"[\w%.*/{}\[\]()^'-]{1,16}", re.ASCII),
    "FMA": _NUMBER,
    "SRT": re.compile(r"[A-Z0-9]{1,2}-[A-Z0-9]{4,6}"),
    "99SDM": re.compile(r"[A-Z0-9]{1,2}-[A-Z0-9]{4,6}"),
    "SNM3": re.compile(r"[A-Z0-9]{1,2}-[A-Z0-9]{4,6}"),
    "UMLS": re.compile(r"C\d{7}"),
    "NCIt": re.compile(r"C\d{1,8}"),
    "RADLEX": re.compile(r"RID\d{1,8}"),
    "MDC": _NUMBER,
    "IBSI": re.compile(r"[A-Z0-9]{4}"),
    "RXNORM": _NUMBER,
}


def clean_code(item: Dataset, out: Dataset, known: Known) -> None:
    """Set value, scheme and meaning of a coded entry in ``out`` by what may stay of ``item``; others are untouched."""
    designator = str(item.get("CodingSchemeDesignator") or "")
    value = str(item.get("CodeValue") or "")
    for keyword in ("LongCodeValue", "URNCodeValue", "CodeMeaning", "CodingSchemeVersion"):
        if keyword in out:
            delattr(out, keyword)
    if "CodingSchemeDesignator" in item:
        out.CodingSchemeDesignator = designator if _known_scheme(designator) else "99REMOVED"
    if "CodeValue" in item or "CodeMeaning" in item:
        meaning = meanings().get((value, designator))
        shape = _SHAPES.get(designator)
        fits = meaning is not None or (shape is not None and shape.fullmatch(value) and not known.in_text(value))
        out.CodeValue = value if fits else REMOVED
        # Of a unit, the code itself is what people read.
        unit = designator == "UCUM" and fits
        out.CodeMeaning = meaning if meaning is not None else value if unit else REMOVED
    version = str(item.get("CodingSchemeVersion") or "")
    if _VERSION.fullmatch(version) and not known.in_number(version):
        out.CodingSchemeVersion = version


def clean_scheme(item: Dataset, out: Dataset) -> None:
    """An entry of Coding Scheme Identification Sequence: designator and registered UID, and ours as we write it."""
    designator = str(item.get("CodingSchemeDesignator") or "")
    if designator == concepts.SCHEME:
        out.update(concepts.scheme_item())
    elif not _known_scheme(designator):
        out.CodingSchemeDesignator = "99REMOVED"
    uid = str(item.get("CodingSchemeUID") or "")
    if uid in vocabulary.SCHEME_UIDS:
        out.CodingSchemeUID = uid
    elif "CodingSchemeUID" in out:
        del out.CodingSchemeUID


def _known_scheme(designator: str) -> bool:
    return designator in (*_SHAPES, concepts.SCHEME) or designator in codes.schemes()


@cache
def meanings() -> dict[tuple[str, str], str]:
    """The meaning of each code that pydicom's dictionaries, our taxonomy and our reports have, by value and scheme."""
    known = {
        (one.value, one.scheme_designator): one.meaning
        for scheme in codes.schemes()
        for one in Collection(scheme).concepts.values()
    }
    ours: list[Code] = [value for value in vars(concepts).values() if isinstance(value, Code)]
    for coded in (concepts.GENERIC, *(category.codes for category in TAXONOMY.values())):
        ours += _of(coded)
    known.update({(one.value, one.scheme): one.meaning for one in ours})
    return known


def _of(coded: Codes) -> list[Code]:
    return [c for c in (coded.property_category, coded.property_type, coded.region, coded.laterality) if c is not None]
