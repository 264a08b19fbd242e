"""Questions and traces by rule: clinical hints that never name the target, and what was measured in the picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medreasoner_monai.data.describe import Description, describe
from medreasoner_monai.data.giveaways import named_in
from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.sample import Sample
from medreasoner_monai.data.writers.absent import Asked, Census, absent_targets
from medreasoner_monai.data.writers.answers import (
    absent_sample,
    found_sample,
    generator,
    is_lesion,
    named_targets,
    numbered,
)
from medreasoner_monai.data.writers.apart import tell_apart
from medreasoner_monai.data.writers.forms import (
    absent_trace_text,
    hinted_questions,
    measured_questions,
    trace_text,
    view_words,
)
from medreasoner_monai.data.writers.words import Words, without_side, words_digest, words_of
from medreasoner_monai.settings.data import QuestionSettings

_VERSION = 2


@dataclass(frozen=True)
class RuleWriter:
    """Asks for each target by a clinical hint, or by its looks where no hints exist for it.

    Attributes
    ----------
    settings:
        Seed, number of questions per target, and share of absent questions.
    census:
        What the data set shows; without one, nothing is asked for in vain.
    """

    settings: QuestionSettings = field(default_factory=QuestionSettings)
    census: Census = field(default_factory=Census)

    def identity(self) -> dict[str, Any]:
        """Version, digest of the words and settings. What the census counts, the sources' identity says."""
        chosen = self.settings.model_dump(mode="json", include={"seed", "per_target", "absent_share"})
        return {"writer": "rules", "version": _VERSION, "words": words_digest(), **chosen}

    def write(self, picture: LabelledImage) -> Iterator[tuple[str, Sample]]:
        """``per_target`` samples per target, then as many for each absent one. Equal pictures give equal texts."""
        view = view_words(picture.modality, picture.site)
        seen = [describe(picture, target) for target in picture.targets]
        for number, (name, target) in enumerate(named_targets(picture)):
            rng = generator(self.settings.seed, name)
            choices = _questions(picture, seen, number)
            order = rng.permutation(len(choices))[: self.settings.per_target]
            for turn, choice in enumerate(order):
                trace = trace_text(view, target.name, seen[number], rng)
                made = numbered(name, turn)
                yield target.where, found_sample(picture, target, made, choices[int(choice)], trace)
        for asked, why in absent_targets(picture, self.census, self.settings.absent_share, self.settings.seed):
            yield from ((picture.id, sample) for sample in self._absent(picture, asked, why, view))

    def _absent(self, picture: LabelledImage, asked: Asked, why: str, view: str) -> Iterator[Sample]:
        name = f"{picture.origin.source}/{picture.id}-{why}-{asked.name}-{asked.site}".replace(" ", "-")
        rng = generator(self.settings.seed, name)
        found = words_of(asked.name, asked.site)
        if found is None:
            raise ValueError(f"{asked.name}: nothing is asked for in vain without words for it")
        words, side = found
        several = words.number == "many" or (words.number == "parts" and not side and bool(rng.random() < 0.5))
        choices = hinted_questions(words, side, several)
        choices = [choice for choice in choices if not named_in(choice, asked.name)] or choices
        for turn, choice in enumerate(rng.permutation(len(choices))[: self.settings.per_target]):
            trace = absent_trace_text(view, asked.name, rng)
            made = numbered(name, turn)
            yield absent_sample(picture, asked.name, asked.site, made, choices[int(choice)], trace, why)


def _questions(picture: LabelledImage, seen: list[Description], number: int) -> list[str]:
    """Every question that may be asked for a target, in a fixed order."""
    target = picture.targets[number]
    apart = tell_apart(picture, seen, number, _rivals(picture, seen, number))
    found = words_of(target.name, picture.site)
    if found is None:
        plain, side = without_side(target.name)
        return measured_questions(seen[number], side, apart, lesion=is_lesion(plain))
    words, side = found
    choices = hinted_questions(words, side, spoken_as_several(words, side, seen[number]), apart)
    return [choice for choice in choices if not named_in(choice, target.name)] or choices


def spoken_as_several(words: Words, side: str, seen: Description) -> bool:
    """Whether a question speaks of a target in the plural."""
    return words.number == "many" or (words.number == "parts" and not side and seen.parts > 1)


def _rivals(picture: LabelledImage, seen: list[Description], number: int) -> list[int]:
    """The other regions of a picture that the same words fit."""
    mine, mask = _key(picture, seen, number), picture.targets[number].mask
    others = (n for n in range(len(seen)) if n != number and _key(picture, seen, n) == mine)
    return [n for n in others if not np.array_equal(picture.targets[n].mask, mask)]


def _key(picture: LabelledImage, seen: list[Description], number: int) -> tuple[object, ...]:
    name = picture.targets[number].name
    found = words_of(name, picture.site)
    if found is None:
        plain, side = without_side(name)
        return is_lesion(plain), side
    return found[0], found[1], spoken_as_several(*found, seen[number])
