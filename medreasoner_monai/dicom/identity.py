"""Whose images a series holds, and whether all of its instances say the same.

An answer is filed under what the instances of a series say of patient and study, so they must agree. Where they do not,
the series is refused and the attribute and the files are named, never the values.

Values are compared as DICOM means them (PS3.5 6.2): white space around them and padding do not count; names are
compared without case, trailing delimiters and repeated blanks, and each component group (alphabetic, ideographic,
phonetic) only with the same group. An empty value does not contradict another one: it is filled in from the instances
that have one, provided that the instance says by another attribute whose it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydicom import Dataset

from medreasoner_monai.dicom.instance import Instance
from medreasoner_monai.errors import DicomError

_NAMED = 3
_WHITE = re.compile(r"[\s\0]+")
_US = ("1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3")
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_GREY = {"MONOCHROME1", "MONOCHROME2"}
_PATIENT = ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex")


def _text(value: object) -> str:
    return _WHITE.sub(" ", "" if value is None else str(value)).strip()


def _sop_class(value: object) -> str:
    """Stills and clips of ultrasound stand side by side in a series, and so do kinds of secondary captures."""
    uid = _text(value)
    for family in (*_US, _CAPTURE):
        if uid == family or uid.startswith(f"{family}."):
            return "US" if family in _US else _CAPTURE
    return uid


def _photometric(value: object) -> str:
    kind = _text(value)
    return kind if kind in _GREY or not kind else "colour"


def _name_group(number: int) -> Callable[[object], str]:
    def group(value: object) -> str:
        groups = _text(value).casefold().split("=")
        if number >= len(groups):
            return ""
        return "^".join(part.strip() for part in groups[number].split("^")).rstrip("^")

    return group


@dataclass(frozen=True)
class _Comparison:
    """An attribute, and what of its value is compared; empty text stands for nothing that could differ."""

    keyword: str
    of: Callable[[object], str] = _text


_COMPARED = (
    _Comparison("PatientID"),
    _Comparison("IssuerOfPatientID"),
    *(_Comparison("PatientName", _name_group(number)) for number in range(3)),
    _Comparison("PatientBirthDate"),
    _Comparison("PatientSex"),
    _Comparison("StudyInstanceUID"),
    _Comparison("FrameOfReferenceUID"),
    _Comparison("Modality"),
    _Comparison("SOPClassUID", _sop_class),
    _Comparison("PhotometricInterpretation", _photometric),
)
_REMEDY = "sort out which belong together, or give the files of one kind alone"


def contradictions(files: Sequence[Instance]) -> Iterator[str]:
    """Why the instances of one Series Instance UID cannot be answered as one series; attribute and files are named.

    Parameters
    ----------
    files:
        Instances with one Series Instance UID, their headers repaired.
    """
    said: set[str] = set()
    for compared in _COMPARED:
        groups: dict[str, list[str]] = {}
        for file in files:
            value = compared.of(file.header.get(compared.keyword))
            if value:
                groups.setdefault(value, []).append(file.source.name)
        if len(groups) > 1 and compared.keyword not in said:
            said.add(compared.keyword)
            fewest = sorted(groups.values(), key=len)
            yield (
                f"the series mixes {len(groups)} values of {compared.keyword}: "
                f"{' against '.join(_named(names) for names in fewest[:_NAMED])}; {_REMEDY}"
            )
    nobody = [f.source.name for f in files if not _says_whose(f.header)]
    if nobody and len(nobody) < len(files):
        yield (
            f"the series mixes files with and without PatientID and PatientName: {_named(nobody)} "
            f"do not say whose they are; {_REMEDY}"
        )


def fill_blanks(files: Sequence[Instance]) -> list[str]:
    """Give instances without a patient attribute the value that all others of the series have, and say so.

    Only for instances without :func:`contradictions`; objects are made from any of their headers.

    Returns
    -------
    list of str
        One phrase per attribute and instance; attribute names only.
    """
    done = []
    for keyword in _PATIENT:
        filled = [f.header for f in files if _text(f.header.get(keyword))]
        if not filled:
            continue
        fullest = max(filled, key=lambda header: len(_text(header.get(keyword))))
        for file in files:
            if not _text(file.header.get(keyword)):
                file.header[keyword] = fullest[keyword]
                done.append(f"empty {keyword} filled in from the other files of the series")
    return done


def patients(headers: Iterable[Dataset]) -> int:
    """How many patients the headers name, by ID and issuer; those without an ID are not counted."""
    known = {(_text(h.get("PatientID")), _text(h.get("IssuerOfPatientID"))) for h in headers}
    return len({pair for pair in known if pair[0]})


def check_unchanged(dataset: Dataset, header: Dataset, source: str) -> None:
    """Hold a data set that was loaded for its pixels against the header that was read before.

    Parameters
    ----------
    dataset:
        Just loaded.
    header:
        What the series keeps of the instance.
    source:
        Names the instance in the message.

    Raises
    ------
    DicomError
        If it is another instance now, or another patient's: the file was replaced, or an archive sent something else.
    """
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"):
        now, before = _text(dataset.get(keyword)), _text(header.get(keyword))
        # What was empty at first was repaired or filled in in memory.
        if now and now != before:
            raise DicomError(
                f"{source}: {keyword} is not the one that was read before; the file was replaced, open it again"
            )


def _says_whose(header: Dataset) -> bool:
    return bool(_text(header.get("PatientID")) or _name_group(0)(header.get("PatientName")))


def _named(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
