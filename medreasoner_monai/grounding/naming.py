"""What a found region is called: as given with the question, or as the reasoning concludes; flags where it is unsure.

A name that the images' modality or body part does not allow is not coded where the model gave it. Where a person gave
it, it stays and is flagged.
"""

from __future__ import annotations

from dataclasses import replace

from medreasoner_monai.dicom.body_part import sites
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.findings import Finding, Flag
from medreasoner_monai.task.naming import Conclusion, Doubt, conclude
from medreasoner_monai.task.taxonomy import Category, category, codes_for

MODALITIES = {
    "CT": "CT",
    "MR": "MRI",
    **dict.fromkeys(("CR", "DX", "RG", "RF"), "X-Ray"),
    "US": "Ultrasound",
    "MG": "Mammography",
    "ES": "Endoscopy",
    "OP": "Fundus",
    **dict.fromkeys(("OPT", "OCT"), "OCT"),
    "SM": "Pathology",
}
"""DICOM's modalities (PS3.3 C.7.3.1.1.1), as the taxonomy calls them; others show none of its categories."""

_DOUBTS: dict[Doubt, str] = {
    "uncertain": "The reasoning is not certain what the region is, so it is not named.",
    "negated": "The reasoning says what the region is not, so it is not named.",
    "several": "The reasoning names several structures, so the region is not named.",
}


def with_name(series: Series, question: Question, finding: Finding) -> Finding:
    """The finding with its codes, and with flags that say why it has none where its reasoning names something.

    Parameters
    ----------
    series:
        Its modality and body part have to allow the name.
    question:
        Its category, where there is one, is the name.
    finding:
        The trace on its key slice is read. Another asked slice whose region is part of the finding may not conclude
        on something else.
    """
    concluded = _conclusion(finding)
    if question.category:
        return _with_given(series, category(question.category), finding, concluded)
    if concluded.doubt:
        return _flagged(finding, _DOUBTS[concluded.doubt])
    if concluded.name:
        named = category(concluded.name)
        if not_here := _objection(series, named):
            return _flagged(
                finding, f"The reasoning calls the region {named.name}; {not_here}, so the region is not named."
            )
        return replace(finding, codes=named.codes, coded_from="trace")
    if concluded.lesion:
        return replace(finding, codes=codes_for(concluded.lesion), coded_from="trace")
    return finding


def _with_given(series: Series, given: Category, finding: Finding, concluded: Conclusion) -> Finding:
    """A person's name stays; what speaks against it is said."""
    finding = replace(finding, codes=given.codes, coded_from="given")
    if not_here := _objection(series, given, unknown_is_fine=True):
        finding = _flagged(finding, f"The region is called {given.name}, as given with the question; {not_here}.")
    called = concluded.name or concluded.lesion
    if called and called != given.name and not (concluded.lesion and given.is_lesion):
        finding = _flagged(
            finding, f"The reasoning calls the region {called}; {given.name} was given with the question."
        )
    elif concluded.doubt:
        finding = _flagged(finding, f"The reasoning does not confirm {given.name}, which was given with the question.")
    return finding


def _conclusion(finding: Finding) -> Conclusion:
    """What the traces conclude of the one region that they share."""
    shown = _of(finding.shown.grounding)
    for one in finding.slices:
        other = _of(one.grounding) if one.voxels else Conclusion()
        if shown.names_something and other.names_something and other != shown:
            return Conclusion(doubt="several")
    return shown


def _of(grounding: Grounding | None) -> Conclusion:
    return conclude((grounding.trace if grounding else None) or "")


def _objection(series: Series, named: Category, *, unknown_is_fine: bool = False) -> str:
    """Why the series cannot show the category, in the words of a flag; empty where it can, or says too little."""
    modality = MODALITIES.get(series.modality)
    seen = not named.modalities or modality in named.modalities
    if not seen and not (unknown_is_fine and series.modality == "OT"):
        return f"it is a category of {' and '.join(named.modalities)}, which these images are not"
    shown = sites(series.headers[0])
    if shown is not None and named.sites and shown.isdisjoint(named.sites):
        return "the images are of another part of the body"
    return ""


def _flagged(finding: Finding, text: str) -> Finding:
    return replace(finding, flags=(*finding.flags, Flag("name", text)))
