"""Checks of a written question, its trace and its answer against the picture they were written for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from medreasoner_monai.data.describe import patient_side, place_words
from medreasoner_monai.data.giveaways import named_in
from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.readability import grade
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.writers.forms import view_words
from medreasoner_monai.data.writers.words import Words, in_number, load_words, without_side, words_of
from medreasoner_monai.errors import InputError
from medreasoner_monai.task.keypoints import mask_box
from medreasoner_monai.task.question_check import check_question
from medreasoner_monai.task.taxonomy import TAXONOMY, generation

_VERSION = 2
QUESTION_WORDS = (4, 30)
TRACE_WORDS = (6, 80)
_PLACES = "upper left|upper centre|upper right|middle left|middle right|lower left|lower centre|lower right|centre"
_PLACE = re.compile(
    rf"\b(?:in|at|within|near|around|towards?|occupies) the ({_PLACES})\b(?! of (?!the (?:picture|image))\w)"
)
_SPELLINGS = (("-", " "), ("top ", "upper "), ("bottom ", "lower "), ("center", "centre"), ("\u2019", "'"))
_SIDE = re.compile(r"\bpatient's (left|right)\b|\b(?:left|right)(?= side of the patient\b)")

Judge = Callable[[LabelledImage, Sample], str | None]
"""A further opinion: the reason against a sample, or None."""


@dataclass(frozen=True)
class Verifier:
    """The checks, in order; each gives the reason why a sample cannot be kept.

    Attributes
    ----------
    max_grade:
        Flesch-Kincaid grade above which a question is refused.
    judge:
        Asked last, where there is one.
    """

    max_grade: float = 20.0
    judge: Judge | None = None

    def identity(self) -> dict[str, Any]:
        """Version and limits, and the judge's identity."""
        judge = getattr(self.judge, "identity", lambda: None)()
        return {"version": _VERSION, "max_grade": self.max_grade} | ({"judge": judge} if judge else {})

    def reason(self, picture: LabelledImage, sample: Sample) -> str | None:
        """Why a sample written for a picture cannot be kept; None where every check passes."""
        for check in (question_fault, place_fault, side_fault, trace_fault, answer_fault):
            if found := check(picture, sample):
                return found
        if (level := grade(sample.question)) > self.max_grade:
            return f"the question reads at grade {level:.0f}, at most {self.max_grade:.0f} is kept; say it more simply"
        return None if self.judge is None else self.judge(picture, sample)


def question_fault(_picture: LabelledImage, sample: Sample) -> str | None:
    """A question that the model would not be given, that is too short or long, or that names its target."""
    try:
        check_question(sample.question)
    except InputError as error:
        return str(error)
    count = len(sample.question.split())
    if not QUESTION_WORDS[0] <= count <= QUESTION_WORDS[1]:
        return f"the question has {count} words, expected {QUESTION_WORDS[0]} to {QUESTION_WORDS[1]}"
    if found := named_in(sample.question, sample.category):
        return f"the question names its target: {found!r} stands in it; describe the target instead"
    return None


def place_fault(_picture: LabelledImage, sample: Sample) -> str | None:
    """A place in question or trace that is not the mask's, or any place for a target that is not there."""
    for what, text in (("question", sample.question), ("trace", sample.trace)):
        for found in _PLACE.finditer(_spelled(text)):
            if not sample.present:
                return f"the {what} speaks of the {found[1]}, but the picture does not show the target"
            true = place_words(mask_box(sample.mask).xyxy, (sample.mask.shape[0], sample.mask.shape[1]))
            if found[1] != true:
                return f"the {what} says the {found[1]}, but the mask's middle lies in the {true}"
    return None


def side_fault(picture: LabelledImage, sample: Sample) -> str | None:
    """A side in the texts that is not the target's, or a sided target whose mask lies on the patient's other side."""
    found = words_of(sample.category, picture.site)
    side = found[1] if found else without_side(sample.category)[1]
    for what, text in (("question", sample.question), ("trace", sample.trace)):
        for match in _SIDE.finditer(_without_hints(_spelled(text), None if found is None else found[0])):
            said = match[1] or match[0]
            if said != side and said != _lies(picture, sample):
                return f"the {what} says the patient's {said}, but the target is {sample.category!r}"
    if found is None or not side or not sample.present or picture.origin.left not in ("left", "right"):
        return None
    return _mirrored(picture, sample, side)


def _without_hints(text: str, words: Words | None) -> str:
    """Without the clinical hints that name a side: what holds for every patient is not said of this one."""
    for hint in () if words is None else words.hints + words.asks:
        if "patient's" in hint:
            for several in (False, True):
                text = text.replace(in_number(hint, several).lower().removesuffix("?"), "")
    return text


def _spelled(text: str) -> str:
    """Lower case, in the spelling of our own places: ``top-left`` is the upper left."""
    lower = text.lower()
    for other, ours in _SPELLINGS:
        lower = lower.replace(other, ours)
    return lower


def _lies(picture: LabelledImage, sample: Sample) -> str:
    if not sample.present:
        return ""
    return patient_side(picture.origin.left, _column(sample.mask), sample.mask.shape[1])


def _mirrored(picture: LabelledImage, sample: Sample, side: str) -> str | None:
    """Against its counterpart where the picture shows one, else against the picture's middle."""
    other = {"left": "right", "right": "left"}[side]
    base = without_side(sample.category)[0]
    column = _column(sample.mask)
    counterpart = next((t for t in picture.targets if without_side(t.name) == (base, other)), None)
    if counterpart is None:
        wrong = _lies(picture, sample) == other
    else:
        on_left = column < _column(counterpart.mask)
        wrong = (picture.origin.left == side) != on_left
    if not wrong:
        return None
    return (
        f"the mask lies on the patient's {other}, for the picture's left is the patient's {picture.origin.left}; "
        "correct the label or the orientation"
    )


def _column(mask: np.ndarray) -> float:
    return float(np.nonzero(mask)[1].mean()) + 0.5


def trace_fault(picture: LabelledImage, sample: Sample) -> str | None:
    """A trace of another length, one that names what is not in the picture, or does not come to its target."""
    if not sample.trace:
        return None
    count = len(sample.trace.split())
    if not TRACE_WORDS[0] <= count <= TRACE_WORDS[1]:
        return f"the trace has {count} words, expected {TRACE_WORDS[0]} to {TRACE_WORDS[1]}"
    last = re.split(r"(?<=[.!?])\s+", sample.trace.strip())[-1].lower()
    shown = {*(target.name for target in picture.targets), sample.category}
    if sample.category not in mentioned(last, frozenset(shown)):
        return f"the trace does not end with its target, {sample.category!r}"
    denied = bool(re.match(r"no\b", last)) or bool(re.search(r"\b(?:not|absent|without)\b", last))
    if denied == sample.present:
        return "the trace's end says that the target is " + ("absent, but there is a mask" if denied else "there")
    text = sample.trace.lower().replace(view_words(picture.modality, picture.site).lower(), " ")
    for name in mentioned(text, frozenset(shown)):
        if name not in shown:
            return f"the trace mentions {name!r}, which is not among the picture's targets"
    return None


def mentioned(text: str, also: frozenset[str] = frozenset()) -> list[str]:
    """Names of structures in a lower-case text; a part of a longer name is not a name of its own.

    >>> mentioned("the liver tumor lies beside the stomach")
    ['liver tumor', 'stomach']
    """
    return [found[1] for found in _names_pattern(also, generation()).finditer(text)]


@lru_cache(maxsize=1024)
def _names_pattern(also: frozenset[str], _taxonomy: int) -> re.Pattern[str]:
    names = sorted(_known_names() | also, key=lambda n: (-len(n), n))
    return re.compile(rf"(?<![\w-])({'|'.join(re.escape(n) for n in names)})s?(?![\w-])")


def _known_names() -> frozenset[str]:
    synonyms = {s for known in TAXONOMY.values() for s in known.synonyms}
    # Names of one common word, such as "vessel", are common words of a description too.
    return frozenset(n for n in {*TAXONOMY, *load_words(), *synonyms} if n not in ("vessel", "bone", "cancer", "nerve"))


def answer_fault(_picture: LabelledImage, sample: Sample) -> str | None:
    """A box that is not the mask's, or a key point outside the mask."""
    if sample.box is None or sample.points is None:
        return None
    true = mask_box(sample.mask)
    if sample.box != true:
        return f"the box is {sample.box.xyxy}, but the mask spans {true.xyxy}"
    for x, y in sample.points.xy:
        if not sample.mask[int(y), int(x)]:
            return f"the key point ({x:g}, {y:g}) lies outside the mask"
    return None
