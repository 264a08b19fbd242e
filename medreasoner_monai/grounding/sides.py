"""Left and right: what question, reasoning and codes say of a finding's side, held against where its mask lies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.hanging import laterality
from medreasoner_monai.dicom.midline import find_midline
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.dicom.view import Mask
from medreasoner_monai.grounding.claims import claims_of
from medreasoner_monai.grounding.placing import viewed_mask
from medreasoner_monai.task.findings import Finding, Flag, Side
from medreasoner_monai.task.taxonomy import LEFT, RIGHT, Codes

DEAD_ZONE = 0.1
"""Of the body's half width: a region whose middle is nearer to the midline lies on neither side."""
MOSTLY = 0.75
"""Least share of a region on one side of the midline, for it to lie on that side."""

# A side is stated of one of a pair. Of these parts there is one, and what the attribute says there is a mistake.
_UNPAIRED = {"ABDOMEN", "BRAIN", "CHEST", "CSPINE", "HEAD", "LSPINE", "NECK", "PELVIS", "SKULL", "SPINE", "TSPINE"}
# Of these a picture shows one side, or both without a body between them.
_PAIRED = {
    *("ANKLE", "ARM", "BREAST", "CLAVICLE", "EAR", "ELBOW", "EXTREMITY", "EYE", "FINGER", "FOOT", "FOREARM", "HAND"),
    *("HIP", "HUMERUS", "KNEE", "LEG", "ORBIT", "SCAPULA", "SHOULDER", "THIGH", "THUMB", "TOE", "WRIST"),
}


def with_sides_checked(series: Series, finding: Finding) -> Finding:
    """The finding with a side only where its mask lies on it, and flags where something says otherwise.

    Returns
    -------
    The finding with ``side``. Its codes keep their laterality, and their label its "left" or "right", where the mask
    lies on that side; otherwise they lose both, and a flag says why. A side that the question or the reasoning claims
    is held against the mask too.

    Raises
    ------
    DicomError
        If a slice's pixels cannot be read.
    """
    if finding.status != "found":
        return finding
    side = side_of(series, finding)
    flags = tuple(Flag("side", text) for text in _objections(finding, side))
    return replace(finding, side=side, codes=_coded(finding.codes, side), flags=(*finding.flags, *flags))


def side_of(series: Series, finding: Finding) -> Side:
    """The side of the patient that a finding's mask lies on, in all of its slices.

    Raises
    ------
    DicomError
        If a slice's pixels cannot be read.
    """
    marked = finding.marked
    header = series.headers[series.locate(finding.key)[0]]
    part = str(header.get("BodyPartExamined") or "").strip().upper()
    stated = {_stated(series, index) for index in marked}
    if part not in _UNPAIRED and (known := stated.pop() if len(stated) == 1 else None):
        return Side(known, "the images are said to be of one side (Image Laterality or Laterality)")
    if part in _PAIRED:
        return Side("unknown", "the images are of one of a pair of parts, and do not say which")
    if series.in_space:
        return _by_midline(series, finding.key, marked)
    sides = [_by_midline(series, index, {index: mask}) for index, mask in marked.items()]
    if len({side.value for side in sides}) == 1:
        return sides[0]
    return Side("unknown", "the region lies on different sides in different images")


def _stated(series: Series, index: int) -> Literal["left", "right"] | None:
    number, frame = series.locate(index)
    stated = laterality(series.headers[number], frame)
    return "left" if stated == "L" else "right" if stated == "R" else None


def _by_midline(series: Series, key: int, marked: Mapping[int, Mask]) -> Side:
    """The masks' side of the midline of one slice, which holds for the others of a stack."""
    turned = series.orientation(key)
    at = key if key in marked else max(marked, key=lambda i: int(marked[i].sum()))
    midline = find_midline(series, at, viewed_mask(marked[at], turned))
    if isinstance(midline, str):
        return Side("unknown", midline)
    offsets = np.concatenate([midline.offsets(viewed_mask(mask, turned)) for mask in marked.values()])
    return Side(side_from(offsets), "by the midline of the body's outline on the key slice")


def side_from(offsets: NDArray[np.float64]) -> Literal["left", "right", "midline"]:
    """The side on which most of a region lies, by its pixels' offsets from the midline ``(N,)``: left is positive.

    >>> side_from(np.array([0.2, 0.4, -0.1, 0.5]))
    'left'
    """
    middle, left = float(offsets.mean()), float((offsets > 0).mean())
    if middle > DEAD_ZONE and left >= MOSTLY:
        return "left"
    if middle < -DEAD_ZONE and 1 - left >= MOSTLY:
        return "right"
    return "midline"


def _objections(finding: Finding, side: Side) -> Iterator[str]:
    answer = finding.shown.grounding
    texts = {"question": claims_of(finding.question), "reasoning": claims_of((answer.trace if answer else "") or "")}
    claimed: dict[str, str] = {f"the {name} speaks of": claims.only for name, claims in texts.items() if claims.only}
    coded = _coded_side(finding.codes)
    if coded and coded not in claimed.values():
        claimed["the code given names"] = coded
    for by, what in claimed.items():
        if side.value == _OPPOSITE[what]:
            yield f"{by[0].upper()}{by[1:]} the patient's {what}, but the region lies on the patient's {side.value}."
    if side.value == "unknown" and (claimed or coded or any(c.sides or c.ambiguous for c in texts.values())):
        yield f"Left and right could not be verified: {side.how}."
    elif side.value == "midline" and (claimed or coded):
        yield "Left and right could not be verified: the region lies at the midline or reaches across it."
    if coded and coded != side.value:
        yield f"The region is not coded as {coded}."


_OPPOSITE = {"left": "right", "right": "left"}


def _coded(codes: Codes | None, side: Side) -> Codes | None:
    """The codes without a side that the mask does not lie on."""
    if codes is None or _coded_side(codes) in (None, side.value):
        return codes
    label = " ".join(re.sub(r"\b(?:left|right)\b", " ", codes.label, flags=re.IGNORECASE).split())
    return replace(codes, label=label or codes.property_type.meaning, laterality=None)


def _coded_side(codes: Codes | None) -> str | None:
    """``left`` or ``right`` where codes have a laterality, or their label names one side."""
    if codes is None:
        return None
    if codes.laterality is not None:
        return {LEFT: "left", RIGHT: "right"}.get(codes.laterality)
    if any(
        re.search(r"\b(?:left|right)\b", c.meaning, re.IGNORECASE) for c in (codes.property_type, codes.region) if c
    ):
        return None  # of a left ventricle or atrium, which is a chamber of its own wherever it lies
    named = {side for side in ("left", "right") if re.search(rf"\b{side}\b", codes.label, re.IGNORECASE)}
    return named.pop() if len(named) == 1 else None
