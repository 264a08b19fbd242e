"""Which pictures may show who the patient is, so that a person looks before they are copied (PS3.15 E.3.1, E.3.2).

What decides are the attributes that say how a picture came about: captured pages, screens of dose or protocol,
digitised film, photographs, ultrasound. Where BurnedInAnnotation is not there, only cross-sectional images of a
detector are taken to have no text in them; where it says NO, a page that a scanner or a screen made is not believed.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydicom import Dataset

from medreasoner_monai.dicom.deidentify_values import several

_SAFE_MODALITIES = {"CT", "MR", "PT", "NM", "SEG"}
_COLOUR = {"RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT"}
_PAGES = ("SAVE", "SCREEN", "DOSE", "PROTOCOL", "REPORT", "EVIDENCE", "CAPTURE", "SUMMARY")
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
# They belong to the Secondary Capture equipment (PS3.3 C.8.6.1); whoever wrote them captured something.
_CAPTURED = (
    "ConversionType",
    "DateOfSecondaryCapture",
    "SecondaryCaptureDeviceManufacturer",
    "SecondaryCaptureDeviceID",
)


def pixel_risk(dataset: Dataset) -> str | None:
    """Why a picture may show who the patient is, or None; the reason has no value but coded words of the standard."""
    burned_in = str(dataset.get("BurnedInAnnotation") or "").strip()
    sop_class = str(dataset.get("SOPClassUID") or "")
    if burned_in == "YES":
        return "BurnedInAnnotation is YES"
    if str(dataset.get("RecognizableVisualFeatures") or "").strip() == "YES":
        return "RecognizableVisualFeatures is YES"
    if sop_class.startswith(_DOCUMENTS):
        return "it is an encapsulated document"
    if page := _page(several(dataset.get("ImageType"))):
        return f"its ImageType is that of a page or screen ({page})"
    if any(keyword in dataset for keyword in _CAPTURED) or f"{sop_class}.".startswith(f"{_CAPTURE}."):
        return "it is a secondary capture"
    if burned_in == "NO":
        return None
    if str(dataset.get("Modality") or "") not in _SAFE_MODALITIES:
        return "BurnedInAnnotation is not said"
    if str(dataset.get("PhotometricInterpretation") or "") in _COLOUR and dataset.get("Modality") != "SEG":
        return "it is in colour, and BurnedInAnnotation is not said"
    return None


def _page(types: Sequence[object]) -> str:
    """The kind of page that Image Type names, not its words, which may be anything."""
    words = [str(t).upper() for t in types]
    return next((page for page in _PAGES if any(page in word for word in words)), "")
