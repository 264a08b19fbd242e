"""A research export: SEG, SR, SC and ordinary images without who the patient is (PS3.15 Annex E, Basic Profile).

With the same key, the same UID always becomes the same new one and the same patient the same pseudonym: files exported
one by one still refer to each other. Without the key nobody can tell which they were. What the pictures show is not
looked at; see ``docs/dicom-out.md`` for that and the other limits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.dicom import provenance
from medreasoner_monai.dicom.deidentify_frames import clean_pixel_data
from medreasoner_monai.dicom.deidentify_risk import pixel_risk
from medreasoner_monai.dicom.deidentify_values import defined_uid
from medreasoner_monai.dicom.deidentify_walk import Cleaner
from medreasoner_monai.dicom.files import read
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.errors import DicomError, InputError

_KEY_BYTES = 16
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
    cleaner = Cleaner(key, dates, keep_texts, dataset)
    out = cleaner.clean(dataset, top=True)
    for element in clean_pixel_data(dataset, path_in):
        out.add(element)
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
    if not defined_uid(str(dataset.get("SOPClassUID") or "")):
        raise DicomError(f"{path}: its SOP class is missing or private; nobody knows what else stands in such a file")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise DicomError(f"{path}: its transfer syntax is not one of DICOM's; export it in another one")
    risk = pixel_risk(dataset) if has_pixels else None
    if risk and not pixels_checked:
        raise DicomError(
            f"{path}: its picture may have text in it, or a face ({risk}); look at it, and pass pixels_checked=True "
            "when nothing in it says who the patient is"
        )


def _mark(out: Dataset, cleaner: Cleaner, *, is_report: bool) -> None:
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
