"""Which targets a picture is asked for in vain.

A target that is asked for in vain as often as a coin says would give itself away: rare ones would nearly always be
absent. So each is asked for in proportion to how often it is present, which takes a count of the whole data set: the
census. A picture then decides by itself, whatever is curated beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.questioning import HEALTHY, OTHER_PART
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.writers.answers import chance_of, is_lesion
from medreasoner_monai.data.writers.words import Words, words_of
from medreasoner_monai.data.writers.worlds import certainly_absent, world_of

_NEAR = 0.6
"""Share of a target's absent questions for pictures of its own kind, where some are known not to show it."""
_MOST = 0.5
"""Highest probability with which one picture is asked for one absent target."""


class Asked(NamedTuple):
    """A target as the pictures of a site have it."""

    name: str
    site: str


@dataclass(frozen=True)
class Census:
    """How often each target is outlined, and how many pictures of each kind there are.

    Attributes
    ----------
    targets:
        Pictures that outline a target.
    worlds:
        Pictures of a kind.
    known_absent:
        Pictures whose source promises to outline a target, and in which it is not outlined.
    """

    targets: Counter[Asked] = field(default_factory=Counter)
    worlds: Counter[str] = field(default_factory=Counter)
    known_absent: Counter[Asked] = field(default_factory=Counter)

    @classmethod
    def of(cls, units: Iterable[Unit]) -> Census:
        """Count what sources say of their units. A unit of several pictures counts as many, by its masks."""
        census = cls()
        for unit in units:
            if not unit.names:
                continue
            pictures = max(1, round(unit.masks / len(unit.names)))
            census.worlds[world_of(unit.modality, unit.site)] += pictures
            for name in unit.names:
                census.targets[Asked(name, unit.site)] += pictures
            for name in unit.labelled - set(unit.names):
                census.known_absent[Asked(name, unit.site)] += pictures
        return census

    @cached_property
    def _far(self) -> dict[Asked, int]:
        """Pictures that certainly do not show a target because they are of another kind."""
        found: dict[Asked, int] = {}
        for asked in self.targets:
            words = words_of(asked.name, asked.site)
            if words is not None:
                far = (n for world, n in self.worlds.items() if certainly_absent(words[0].worlds, world))
                found[asked] = sum(far)
        return found

    def chances(self, asked: Asked, share: float) -> tuple[float, float]:
        """Probability that a picture of another kind, and one known not to show it, is asked for a target in vain."""
        if asked not in self._far:
            return 0.0, 0.0
        wanted = share / (1 - share) * self.targets[asked]
        near, far = self.known_absent[asked], self._far[asked]
        by_near = min(wanted * (_NEAR if far else 1.0), _MOST * near)
        return min(_MOST, (wanted - by_near) / far) if far else 0.0, by_near / near if near else 0.0


def absent_targets(picture: LabelledImage, census: Census, share: float, seed: int) -> Iterator[tuple[Asked, str]]:
    """The targets that a picture is asked for in vain, and why each is not there, in the order of their names.

    Parameters
    ----------
    share:
        Of a target's questions, those in vain.
    seed:
        Of the data set.
    """
    world = world_of(picture.modality, picture.site)
    shown = {target.name for target in picture.targets} | picture.set_aside  # outlined, if not fit to be asked for
    spoken_of = [found for name in sorted(shown) if (found := words_of(name, picture.site))]
    for asked in sorted(census.targets):
        words = words_of(asked.name, asked.site)
        if words is None or asked.name in shown or any(_fits(words, other) for other in spoken_of):
            continue
        far, near = census.chances(asked, share)
        if asked.name in picture.labelled and asked.site == picture.site:
            chance, why = near, HEALTHY if is_lesion(asked.name) else OTHER_PART
        elif certainly_absent(words[0].worlds, world):
            chance, why = far, OTHER_PART
        else:
            continue
        if chance and chance_of(seed, picture.origin.source, picture.id, "absent", asked.name, asked.site) < chance:
            yield asked, why


def _fits(asked: tuple[Words, str], shown: tuple[Words, str]) -> bool:
    """Whether words for a target fit something shown under another name: an inferior vena cava is a postcava."""
    return asked[0] == shown[0] and (asked[1] == shown[1] or not (asked[1] and shown[1]))
