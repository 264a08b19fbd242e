"""Which values of an attribute that stays may stay: those that have the shape its value representation asks for.

An attribute's name does not say what stands in it. Text in a number, a name in a coded string or behind a date are told
by their shape (PS3.5 6.2); what has the right shape and is an identifier that stands elsewhere in the same data set
(:class:`~medreasoner_monai.dicom.deidentify_known.Known`) goes as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import isfinite

import numpy as np
from pydicom._uid_dict import UID_dictionary
from pydicom.datadict import dictionary_has_tag
from pydicom.tag import Tag

from medreasoner_monai.dicom import deidentify_words as vocabulary
from medreasoner_monai.dicom.deidentify_known import Known

_DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_DATE = re.compile(r"\d{8}")
_TIME = re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?")
_REST_OF_DATETIME = re.compile(r"(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?([+-]\d{4})?")
_TEXT = re.compile(r"[\w .,:;/+()\[\]%=&-]{0,1024}", re.ASCII)
_UID_LIKE = re.compile(r"\d+(\.\d+){4,}")
_DICOM_UID = re.compile(r"1\.2\.840\.10008(\.\d{1,4}){2,9}")
_PRINTED = re.compile(rb"[\x20-\x7e]{6,}[\x00 ]*")
_BINARY = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "UV": "u8", "SV": "i8", "FL": "f4", "FD": "f8"}
_LARGEST_IS = 2**31


def several(value: object) -> list[object]:
    """The values of an element, whatever it holds."""
    if value is None or (isinstance(value, str | bytes) and not value):
        return []
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return [value]
    return list(value)


def decimal(value: object, known: Known) -> str | None:
    """A DS as it stands, or None where it is not one."""
    text = str(getattr(value, "original_string", value)).strip(" \0")
    fits = len(text) <= 16 and _DECIMAL.fullmatch(text) and isfinite(float(text))
    return text if fits and not known.in_number(text) else None


def integer(value: object, known: Known) -> str | None:
    """An IS as it stands, or None where it is not one."""
    text = str(getattr(value, "original_string", value)).strip(" \0")
    fits = re.fullmatch(r"[+-]?\d{1,11}", text) and abs(int(text)) <= _LARGEST_IS
    return text if fits and not known.in_number(text) else None


def binary(values: Sequence[object], vr: str, known: Known) -> list[int | float] | None:
    """Binary numbers, or None where they are none or their bytes spell a text."""
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        return None
    try:
        data = np.asarray(values, dtype=f"<{_BINARY[vr]}").tobytes()
    except (OverflowError, ValueError, TypeError):
        return None
    if known.in_bytes(data) or _PRINTED.fullmatch(data) or any(known.in_number(str(v)) for v in values):
        return None
    return list(values)  # type: ignore[arg-type]


def tag(value: object) -> int | None:
    """An AT that names an attribute of the standard."""
    try:
        number = Tag(value)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return None
    return int(number) if dictionary_has_tag(number) and not number.is_private else None


def code_string(value: object, known: Known) -> str | None:
    """A CS whose word the standard defines."""
    text = str(value).strip(" \0")
    defined = text in vocabulary.WORDS or re.fullmatch(r"\d{1,5}", text)  # a template's number
    return text if defined and not known.in_text(text) else None


def text(value: object, known: Known, most: int = 64) -> str | None:
    """A short technical text without identifiers that are known, names in DICOM's form, UIDs or addresses."""
    one = str(value).strip(" \0")
    fits = len(one) <= most and _TEXT.fullmatch(one) and not _UID_LIKE.search(one)
    return one if fits and not known.in_text(one) else None


def defined_uid(value: str) -> bool:
    """Whether DICOM itself, or a coding scheme of its, has the UID: it names a definition and no instance."""
    return value in UID_dictionary or value in vocabulary.SCHEME_UIDS or bool(_DICOM_UID.fullmatch(value))


def time(value: str) -> str | None:
    """A TM, or None where it is not one."""
    return value.strip() if _TIME.fullmatch(value.strip()) else None


def shifted(text: str, days: int) -> str | None:
    """A DA or DT so many days earlier, its time and zone as they are; None where it is none, or nothing is shifted.

    >>> shifted("20240301", 1), shifted("20240301083000.5+0100", 366)
    ('20240229', '20230301083000.5+0100')
    """
    text = text.strip()
    if not days or not _DATE.fullmatch(text[:8]) or not _REST_OF_DATETIME.fullmatch(text[8:]):
        return None
    try:
        day = datetime.strptime(text[:8], "%Y%m%d")
    except ValueError:
        return None
    return f"{day - timedelta(days=days):%Y%m%d}{text[8:]}"


def each(values: Sequence[object], keep: Callable[[object], object]) -> list[object] | None:
    """Every value as it is kept; None where one of them is not."""
    kept = [keep(v) for v in values]
    return None if any(k is None for k in kept) else kept
