"""The coded concepts of our reports: a private scheme for what no standard code says, and what each modality is called.

Everything private is here and in ``docs/dicom-out.md``; a code never changes its meaning.
"""

from __future__ import annotations

from functools import cache

from pydicom import Dataset

from medreasoner_monai.task.taxonomy import GENERIC as GENERIC
from medreasoner_monai.task.taxonomy import Code

SCHEME = "99MEDREASONER"

# Concept names.
QUESTION = Code("QUESTION", SCHEME, "Question asked")
TRACE = Code("TRACE", SCHEME, "Reasoning trace of the model")
STATUS = Code("STATUS", SCHEME, "Status of the answer")
REASON = Code("REASON", SCHEME, "Why there is no region")
TARGET = Code("TARGET", SCHEME, "What was asked for")
STOP = Code("STOP", SCHEME, "Where and why the carried mask ends")
BOX = Code("BOX", SCHEME, "Box of the answer")
POINTS = Code("POINTS", SCHEME, "Points of the answer")
INTENSITY = Code("INTENSITY", SCHEME, "Intensity of the pixels")
AGREEMENT = Code("AGREEMENT", SCHEME, "Agreement of the model's answers, not calibrated")
CAUTION = Code("CAUTION", SCHEME, "Reason for caution")
COVERAGE = Code("COVERAGE", SCHEME, "How far the region was looked for")
WHOLE = Code("WHOLE", SCHEME, "Region known to be whole")

# Values.
FOUND = Code("FOUND", SCHEME, "A region was found")
NOTHING_FOUND = Code("NOTHING_FOUND", SCHEME, "The model found nothing")
ABSTAINED = Code("ABSTAINED", SCHEME, "The model is not sure enough to answer")
AT_DETECTOR = Code("AT_DETECTOR", SCHEME, "Measured in the detector plane, not corrected for magnification")

STATUS_CODES = {"found": FOUND, "nothing found": NOTHING_FOUND, "abstained": ABSTAINED}

# DICOM's and others' (PS3.16).
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
COMMENT = Code("121106", "DCM", "Comment")
YES = Code("373066001", "SCT", "Yes")
NO = Code("373067005", "SCT", "No")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
AREA = Code("42798000", "SCT", "Area")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
VOLUME = Code("118565006", "SCT", "Volume")
MEAN = Code("373098007", "SCT", "Mean")
STANDARD_DEVIATION = Code("386136009", "SCT", "Standard Deviation")
MINIMUM = Code("255605001", "SCT", "Minimum")
MAXIMUM = Code("56851009", "SCT", "Maximum")
MILLIMETRE = Code("mm", "UCUM", "mm")
SQUARE_MILLIMETRE = Code("mm2", "UCUM", "square millimeter")
MILLILITRE = Code("ml", "UCUM", "milliliter")
PERCENT = Code("%", "UCUM", "Percent")
_INTENSITIES = {
    "CT": Code("112031", "DCM", "Attenuation Coefficient"),
    "MR": Code("110852", "DCM", "MR signal intensity"),
}

# CID 100, and SNOMED CT's general term where it has none.
_PROCEDURES = {
    "CT": Code("25045-6", "LN", "CT unspecified body region"),
    "MR": Code("25056-3", "LN", "MRI unspecified body region"),
    "PT": Code("44136-0", "LN", "PET unspecified body region"),
    "NM": Code("49118-3", "LN", "NM unspecified body region"),
    **dict.fromkeys(("CR", "DX", "RG", "IO", "PX", "RF"), Code("43468-8", "LN", "XR unspecified body region")),
}
_IMAGING = Code("363679005", "SCT", "Imaging procedure")


def procedure(modality: str) -> Code:
    """The procedure that a report on such images is of (CID 100)."""
    return _PROCEDURES.get(modality, _IMAGING)


def intensity(modality: str) -> Code:
    """What the pixels' values are called (CID 7469 where it has a name)."""
    return _INTENSITIES.get(modality, INTENSITY)


@cache
def modality_code(modality: str) -> Code:
    """The coded modality (CID 29: its code values are those of Modality, PS3.3 C.7.3.1.1.1)."""
    from pydicom.sr.codedict import codes

    for keyword in codes.cid29.dir():
        known = getattr(codes.cid29, keyword)
        if known.value == modality:
            return Code(known.value, known.scheme_designator, known.meaning)
    return Code("OT", "DCM", "Other")


def scheme_item() -> Dataset:
    """What Coding Scheme Identification Sequence says of the private scheme (PS3.3 C.12.1.1.9)."""
    item = Dataset()
    item.CodingSchemeDesignator = SCHEME
    item.CodingSchemeName = "Concepts of medreasoner-monai's reports"
    item.CodingSchemeResponsibleOrganization = "medreasoner-monai"
    return item
