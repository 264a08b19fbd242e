"""Sentence patterns of questions and traces."""

from __future__ import annotations

import re

import numpy as np

from medreasoner_monai.data.describe import Description
from medreasoner_monai.data.traces import ABSENT, BRIGHTNESS, TASKS
from medreasoner_monai.data.writers.apart import ALONE, Apart
from medreasoner_monai.data.writers.words import Words, in_number, words_of

_HINTED = (
    "Which {noun} {hint}?",
    "Where [is|are] the {noun} that {hint}?",
    "Which visible {noun} {hint}?",
    "Of what is shown, which {noun} {hint}?",
    "Where do you see the {noun} that {hint}?",
)
_RANKED = (
    "Which [is|are] the {noun} that {hint}?",
    "Where [is|are] the {noun} that {hint}?",
    "Of what is shown, which [is|are] the {noun} that {hint}?",
    "Where do you see the {noun} that {hint}?",
)
_MEASURED = (
    "Which {look} {thing} lies in the {place} of the picture?",
    "Where is the {look} {thing} in the {place}?",
    "What is the {size} {thing} in the {place} of the picture?",
    "Which {thing} in the {place} looks {level} its surroundings?",
    "Which {size} {look} {thing} is seen in the {place}?",
    "Where do you see a {look} {thing} towards the {place}?",
    "Which {thing} of {size} size stands out in the {place}?",
    "What {look} {thing} could be outlined in the {place}?",
    "Which {shape} {thing} is centred in the {place}?",
    "Where in the {place} is a {size} {thing}?",
    "Which {look}, {shape} {thing} occupies the {place}?",
    "Of the structures shown, which {thing} lies in the {place}?",
)
_FOUND = "A {size} {brightness} {shape}area in the {place} fits the {name}."
_SCATTERED = "A scattered {brightness} region around the {place} fits the {name}."
_LONGEST = 16  # words of a question; longer ones are left out where enough remain
_FEWEST = 12
_MANY = 3  # parts from which a target is a scattered region
_VIEWS = {
    "x-ray": "{site} X-ray",
    "mammography": "mammogram",
    "dermoscopy": "dermoscopic picture",
    "fundus": "fundus photograph",
    "oct": "OCT picture",
    "endoscope": "endoscopic picture",
    "endoscopy": "endoscopic picture",
    "pathology": "stained slide",
    "ultrasound": "{site} ultrasound",
    "ct": "{site} CT",
    "mri": "{site} MR",
}


def hinted_questions(words: Words, side: str, several: bool, apart: Apart = ALONE) -> list[str]:
    """Every question that a concept's words make, in a fixed order.

    Parameters
    ----------
    words:
        Of the concept.
    side:
        The patient's side that is asked about; empty for none. Whole questions, which name no side, are left out then.
    several:
        Whether the target is spoken of as several things.
    apart:
        What tells it from others that the words fit. Whole questions, which cannot say it, are left out then.
    """
    lies = f" on the patient's {side}" if side else ""
    made = [
        in_number(form.format(noun=_told(f"{noun}{lies}", apart), hint=hint), several)
        for hint in words.hints
        for noun in words.nouns
        for form in (_RANKED if apart.before else _HINTED)
    ]
    if not side and not apart:
        made += [in_number(ask, several) for ask in words.asks]
    short = [question for question in made if len(question.split()) <= _LONGEST]
    return short if len(short) >= _FEWEST else made


def _told(noun: str, apart: Apart) -> str:
    return " ".join(part for part in (apart.before, noun, apart.behind) if part)


def measured_questions(seen: Description, side: str, apart: Apart, *, lesion: bool) -> list[str]:
    """Questions about a target of which nothing but its looks is known; the place is always among them."""
    values = {
        "look": BRIGHTNESS[seen.brightness],
        "thing": "abnormal area" if lesion else "structure",
        "place": seen.place,
        "size": seen.size,
        "level": seen.brightness,
        "shape": seen.shape or "compact",
    }
    lies = f" on the patient's {side}" if side else ""
    behind = re.sub(r" ?in the .*", "", apart.behind)
    rank = f", the {_told('one', Apart(apart.before, behind))}" if apart.before else ""
    return [f"{form.format(**values).removesuffix('?')}{lies}{rank}?" for form in _MEASURED]


def trace_text(view: str, name: str, seen: Description, rng: np.random.Generator) -> str:
    """What is sought, then what is seen at the target, and its name: two sentences."""
    brightness = BRIGHTNESS[seen.brightness]
    if seen.parts >= _MANY:
        found = _SCATTERED.format(brightness=brightness, place=seen.place, name=name)
    else:
        shape = f"{seen.shape} " if seen.shape else ""
        found = _FOUND.format(size=seen.size, brightness=brightness, shape=shape, place=seen.place, name=name)
    return f"{_task(view, name, rng)} {found}"


def absent_trace_text(view: str, name: str, rng: np.random.Generator) -> str:
    """What is sought, and that it is not there."""
    return f"{_task(view, name, rng)} {ABSENT.format(site=view, name=name)}"


def _task(view: str, name: str, rng: np.random.Generator) -> str:
    task = TASKS[int(rng.integers(len(TASKS)))]
    if _is_plural(name):
        task = task.replace(" is the {name}", " are the {name}").replace("{name} is asked", "{name} are asked")
    return task.format(view=view, name=name)


def _is_plural(name: str) -> bool:
    """Whether a name speaks of several things: nuclei and airways, but not the pancreas and the thalamus.

    >>> [_is_plural(name) for name in ("nuclei", "airways", "teeth", "pancreas", "thalamus", "iliopsoas", "vessel")]
    [True, True, True, False, False, False, False]
    """
    found = words_of(name)
    several = found is not None and found[0].number != "one"
    return several and bool(re.search(r"(?:[^aiu s]s|i|ae|teeth)$", name))


def view_words(modality: str, site: str) -> str:
    """The kind of picture in words.

    >>> view_words("MRI-T2", "brain"), view_words("fundus", "retinal"), view_words("", "")
    ('brain MR', 'fundus photograph', 'picture')
    """
    kind = modality.split("-T")[0].split("-FLAIR")[0].strip().lower()
    form = _VIEWS.get(kind, "{site} picture")
    where = site.replace("_", " ").lower()
    return " ".join(form.format(site="fetal" if where == "fetus" else where).split())
