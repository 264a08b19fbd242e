"""Modalities in the words of many sources, as the taxonomy writes them."""

from __future__ import annotations

import re

_WORDS = {
    "CT": "ct cbct cect ncct",
    "MRI": "mri mr cmr",
    "X-Ray": "xray x-ray cr dx dr radiography radiograph rg cxr",
    "Ultrasound": "ultrasound us sonography echo echocardiography",
    "Mammography": "mammography mammogram mg",
    "Endoscopy": "endoscope endoscopy colonoscopy es",
    "Dermoscopy": "dermoscopy dermatoscopy dermoscope",
    "Fundus": "fundus fundoscopy op",
    "OCT": "oct opt octa",
    "Pathology": "pathology histopathology microscopy sm gm",
    "PET": "pet pt",
}
_BY_WORD = {word: modality for modality, words in _WORDS.items() for word in words.split()}


def modality_of(text: str) -> tuple[str, str]:
    """Modality and sequence of a source's word: what is unknown stays as it is.

    The sequence is what stands behind the modality's word, after a hyphen or in brackets. DICOM's codes (PS3.3
    C.7.3.1.1.1) are among the words.

    >>> modality_of("MRI-T1-Gd"), modality_of("X-Ray"), modality_of("MRI (cine bSSFP)"), modality_of("thermography")
    (('MRI', 'T1-Gd'), ('X-Ray', ''), ('MRI', 'cine bSSFP'), ('thermography', ''))
    """
    given = text.strip()
    whole = _BY_WORD.get(given.lower().replace(" ", "").replace("_", "-"))
    if whole:
        return whole, ""
    match = re.fullmatch(r"([A-Za-z]+|[Xx]-[Rr]ay)(?:[-_ ]+\(?|\()(.+?)\)?", given)
    if match and (modality := _BY_WORD.get(match[1].lower())):
        return modality, match[2]
    return given, ""
