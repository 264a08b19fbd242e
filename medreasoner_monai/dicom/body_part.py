"""Which part of the body a series says it shows: Body Part Examined and the coded anatomic region, as sites."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from pydicom import Dataset, Sequence

_HEAD = ("brain", "head", "eye", "mouth")
_TRUNK = ("abdomen", "chest", "pelvis", "spine")
_EVERYTHING = (*_HEAD, *_TRUNK, "neck", "limb", "breast", "skin")
# Parts of the defined terms of PS3.16 Annex L and of code meanings; archives spell both in many ways and languages.
_WORDS: dict[str, tuple[str, ...]] = {
    "WHOLEBODY": _EVERYTHING,
    "ENTIREBODY": _EVERYTHING,
    "TRUNK": _TRUNK,
    "SPINE": (*_TRUNK, "neck", "brain"),
    **dict.fromkeys(("LSPINE", "LUMBARSPINE", "SSPINE", "TLSPINE"), ("abdomen", "pelvis", "spine")),
    **dict.fromkeys(("TSPINE", "THORACICSPINE"), ("chest", "spine")),
    **dict.fromkeys(("CSPINE", "CERVICALSPINE"), ("chest", "brain", "neck", "spine")),
    "NECK": ("chest", "brain", "neck", "spine"),
    **dict.fromkeys(
        (
            *("ABDOM", "PELVIS", "PELVIC", "LIVER", "KIDNEY", "SPLEEN", "STOMACH", "PANCREAS", "COLON", "BOWEL"),
            *("RENAL", "ADRENAL", "BLADDER", "PROSTATE", "UTERUS", "RECTUM", "LUMBAR", "SACR", "AORTA"),
        ),
        ("abdomen", "pelvis", "spine"),
    ),
    **dict.fromkeys(
        ("CHEST", "THORA", "TORAX", "LUNG", "HEART", "CARDIAC", "CORONARY", "MEDIASTIN", "RIB", "STERNUM", "BRONCHUS"),
        ("chest", "spine"),
    ),
    **dict.fromkeys(
        ("HEAD", "BRAIN", "SKULL", "CRANI", "CEREBR", "ORBIT", "SINUS", "FACE", "KOPF", "SCHADEL", "PITUITARY"),
        _HEAD,
    ),
    **dict.fromkeys(("TOOTH", "TEETH", "JAW", "MANDIB"), ("mouth", "head")),
    **dict.fromkeys(("EYE", "RETINA"), ("eye",)),
    "BREAST": ("breast",),
    "SKIN": ("skin",),
    **dict.fromkeys(
        (
            *("KNEE", "HAND", "FOOT", "ANKLE", "WRIST", "ELBOW", "SHOULDER", "HIP", "LEG", "ARM", "FEMUR", "TIBIA"),
            *("FIBULA", "HUMERUS", "RADIUS", "ULNA", "FINGER", "TOE", "THUMB", "CALF", "THIGH", "EXTREMITY", "LIMB"),
            *("CALCANEUS", "HEEL", "PATELLA", "SCAPULA", "CLAVICLE"),
        ),
        ("limb",),
    ),
    **dict.fromkeys(("HIP", "FEMUR"), ("limb", "pelvis")),
    **dict.fromkeys(("SHOULDER", "SCAPULA", "CLAVICLE", "HUMERUS"), ("limb", "chest")),
}
_LONGEST_FIRST = sorted(_WORDS, key=len, reverse=True)
_SLICED = frozenset({"CT", "MR", "PT"})


def sites(header: Dataset) -> frozenset[str] | None:
    """The sites, as the taxonomy calls them, that images of the body part may show.

    A CT or MR of chest or abdomen may show both: their ranges overlap in almost every patient.

    Parameters
    ----------
    header:
        Of any instance of the series.

    Returns
    -------
    None where nothing is said, or nothing that is known.
    """
    known: set[str] = set()
    said = False
    for text in _texts(header):
        plain = re.sub(r"[^A-Z]", "", unicodedata.normalize("NFKD", text).upper())
        for word in _LONGEST_FIRST:
            if word in plain:
                said = True
                known.update(_WORDS[word])
                plain = plain.replace(word, "-")
    if str(header.get("Modality") or "") in _SLICED and known & {"abdomen", "chest"}:
        known |= {"abdomen", "chest", "pelvis", "spine"}
    return frozenset(known) if said else None


def _texts(header: Dataset) -> Iterator[str]:
    """Body Part Examined, and the meanings of coded regions of the image or of all its frames (PS3.3 C.7.6.16.2.8)."""
    yield _text(header, "BodyPartExamined")
    places = [header]
    for group in _items(header, "SharedFunctionalGroupsSequence"):
        places += _items(group, "FrameAnatomySequence")
    for place in places:
        for region in _items(place, "AnatomicRegionSequence"):
            yield _text(region, "CodeMeaning")


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """A sequence's items; none where the element is empty or no sequence."""
    value = dataset.get(keyword)
    return list(value) if isinstance(value, Sequence) else []


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return value[:64] if isinstance(value, str) else ""
