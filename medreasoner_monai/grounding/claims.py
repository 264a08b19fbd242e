"""Sides that a text claims: the patient's left and right, told from places in the picture. English only.

"The patient's left", "the left kidney", "left-sided" say where something lies in the patient. "Upper left", "the left
of the image" say where it lies in the picture. "On the left" may mean either, and is held against neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right"]

_SIDE = r"(?P<side>left|right)"
_PART = (
    "kidney|lung|lobe|hemithorax|thorax|chest|pleura|pleural|hemidiaphragm|diaphragm|breast|axilla|shoulder|clavicle|"
    "scapula|rib|arm|hand|wrist|elbow|leg|thigh|knee|ankle|foot|hip|femur|femoral|humerus|tibia|fibula|radius|ulna|"
    "adrenal|ureter|ovary|testis|testicle|tonsil|parotid|orbit|eye|retina|ear|sinus|maxilla|hemisphere|"
    "lateral ventricle|thalamus|hippocampus|amygdala|cerebellum|cerebellar|temporal|frontal|parietal|occipital|iliac|"
    "ilium|psoas|groin|flank|hypochondrium|abdomen|pelvis|renal|pulmonary|hilum|hilar|bronchus|carotid|"
    "lower quadrant|upper quadrant|hemiabdomen|costophrenic|apex|apical|base|basal"
)
# Names of parts of the heart and liver say nothing of the patient's sides: the right ventricle lies in front.
_BETWEEN = (
    r"(?:(?:upper|lower|middle|main|mid|small|large|enlarged|whole|entire|anterior|posterior|medial|lateral)[ -]){0,2}"
)
_PICTURE = r"(?:picture|image|slice|view|frame|scan|radiograph|film|screen|photograph|panel)"
_WHOLE = "patient|person|subject|body"
_HALF = "(?:[ -](?:hand )?(?:side|half|part|edge|border|third|corner|margin))?"
_CLAIMS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:{_WHOLE})(?:'s|’s)? (?:own )?{_SIDE}\b",
        rf"\b{_SIDE}{_HALF} of the (?:{_WHOLE}|chest|abdomen|head|brain|pelvis|thorax)\b",
        rf"\b{_SIDE}[ -]sided\b",
        rf"\b{_SIDE}[ -]{_BETWEEN}(?:{_PART})(?:s|es)?\b(?! of the {_PICTURE})",
    )
)
_PARTS_OF_ORGANS = re.compile(
    r"\b(?:left|right)[ -](?:\w+[ -])?(?:lobe of (?:the )?liver|hepatic lobe|liver lobe|lobe of the thyroid)\b"
    r"|\b(?:liver|hepatic)(?:'s|’s)? (?:left|right) lobe\b",
    re.IGNORECASE,
)
_PLACES = re.compile(
    rf"\b(?:upper|lower|middle|top|bottom|centre|center|far)[ -](?:left|right)\b"
    rf"|\b(?:left|right){_HALF} (?:of|in) (?:the|this) {_PICTURE}\b"
    rf"|\b{_PICTURE}(?:'s|’s) (?:left|right)\b",
    re.IGNORECASE,
)
_EITHER = re.compile(
    r"\b(?:on|to|at|in|from|towards?) (?:the|its) (?:left|right)\b"
    r"|\b(?:left|right)[ -](?:hand )?(?:side|half)\b"
    r"|\b(?:left|right) of (?:the|its)\b",
    re.IGNORECASE,
)
_BOTH = re.compile(r"\b(?:left|right)(?: side)? ?(?:and|or|/) ?(?:the )?(?:left|right)\b", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:not|no|never|without|nor|neither|isn't|isn’t|rather than|instead of|other than|unlike|opposite|"
    r"contralateral)\b",
    re.IGNORECASE,
)
_CLAUSE = re.compile(r"[.;:!?,]|\bbut\b|\bhowever\b|\bwhile\b|\bwhereas\b", re.IGNORECASE)


@dataclass(frozen=True)
class Claims:
    """What a text says of sides.

    Attributes
    ----------
    sides:
        Of the patient, each once; none that is denied.
    ambiguous:
        Whether there is also a left or right that may be the patient's or the picture's.
    """

    sides: frozenset[Side] = frozenset()
    ambiguous: bool = False

    @property
    def only(self) -> Side | None:
        """The side, where it is one."""
        return next(iter(self.sides)) if len(self.sides) == 1 else None


def claims_of(text: str) -> Claims:
    """The sides that a text claims.

    >>> claims_of("Which organ on the patient's left cleans the blood?").only
    'left'
    >>> claims_of("In the upper left of the slice lies a small area. This is not the left kidney.").sides
    frozenset()
    """
    plain = _PARTS_OF_ORGANS.sub(" ", " ".join(text.split()))
    found: set[Side] = set()
    ambiguous = False
    for clause in _CLAUSE.split(plain):
        for pattern in _CLAIMS:
            for match in pattern.finditer(clause):
                if not _NEGATION.search(clause[: match.start()]):
                    found.add("left" if match["side"].lower() == "left" else "right")
        rest = _PLACES.sub(" ", clause)
        if _BOTH.search(rest):
            found |= {"left", "right"}
        for pattern in _CLAIMS:
            rest = pattern.sub(" ", rest)
        ambiguous |= _EITHER.search(rest) is not None
    return Claims(frozenset(found), ambiguous)
