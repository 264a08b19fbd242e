"""What real archives leave empty or malformed, put right in memory so that objects derived from it are valid.

Files are never changed. Each repair is described by attribute name only: values may identify a patient.
"""

from __future__ import annotations

import re

from pydicom import Dataset
from pydicom.charset import python_encoding
from pydicom.uid import generate_uid

# Type 2 in the Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1): may be empty, may not be absent.
_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
# PS3.5 6.2; the dotted dates and coloned times of ACR-NEMA are no longer valid.
_DATE, _TIME = re.compile(r"\d{8}"), re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)? *")
_PATTERNS = {"PatientBirthDate": _DATE, "StudyDate": _DATE, "StudyTime": _TIME, "PatientSex": re.compile("[MFO]")}


def repair(dataset: Dataset) -> list[str]:
    """Repair a data set in place and say what was done.

    Returns
    -------
    list of str
        One phrase a repair, without any value of the file; empty when nothing had to be done.
    """
    done = [*_repair_charset(dataset), *_repair_type_2(dataset)]
    if not str(dataset.get("StudyInstanceUID", "")).strip():
        # Derived, not random: all slices of the series must agree, in this run and the next.
        dataset.StudyInstanceUID = generate_uid(entropy_srcs=["study of", str(dataset.SeriesInstanceUID)])
        done.append("missing StudyInstanceUID generated")
    if "ImagePositionPatient" in dataset and not str(dataset.get("FrameOfReferenceUID", "")).strip():
        dataset.FrameOfReferenceUID = generate_uid(entropy_srcs=["frame of", str(dataset.SeriesInstanceUID)])
        done.append("missing FrameOfReferenceUID generated")
    if "ImagePositionPatient" in dataset and "SliceThickness" not in dataset:
        dataset.SliceThickness = None
        done.append("missing SliceThickness left empty")
    if dataset.get("PatientIdentityRemoved") == "YES" and not (
        dataset.get("DeidentificationMethod") or dataset.get("DeidentificationMethodCodeSequence")
    ):
        dataset.DeidentificationMethod = "Unspecified"
        done.append("missing DeidentificationMethod called unspecified")
    return done


def _repair_charset(dataset: Dataset) -> list[str]:
    """Only terms of PS3.3 C.12.1.1.2 may stand in Specific Character Set; an empty one is not the same as none."""
    if "SpecificCharacterSet" not in dataset:
        return []
    value = dataset.SpecificCharacterSet
    terms = [value] if isinstance(value, str) or value is None else list(value)
    # In a list, an empty first term stands for the default repertoire and is valid.
    valid = all(t in python_encoding and (t or (i == 0 and len(terms) > 1)) for i, t in enumerate(terms))
    if valid and terms:
        return []
    dataset.SpecificCharacterSet = "ISO_IR 100"
    return ["empty or unknown SpecificCharacterSet read as ISO_IR 100"]


def _repair_type_2(dataset: Dataset) -> list[str]:
    missing, invalid = [], []
    for keyword in _TYPE_2:
        if keyword not in dataset:
            missing.append(keyword)
        elif not _valid(dataset, keyword):
            invalid.append(keyword)
        else:
            continue
        setattr(dataset, keyword, None)
    phrases = (("missing", missing), ("invalid", invalid))
    return [f"{what} {', '.join(keywords)} left empty" for what, keywords in phrases if keywords]


def _valid(dataset: Dataset, keyword: str) -> bool:
    pattern = _PATTERNS.get(keyword)
    if pattern is None or not dataset.get(keyword):
        return True
    # As text, so that pydicom's own reading of dates and times cannot fail first.
    return pattern.fullmatch(str(dataset[keyword].value)) is not None
