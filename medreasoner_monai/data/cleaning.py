"""Cleaning: masks that nothing sensible can be asked about are set aside, each with its reason.

The limits stand in :class:`~medreasoner_monai.settings.data.CleanSettings`. They are careful: what a reader of the
picture could still answer is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.burnt_in import characters, lines_of_text, reader_version
from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.mask_measures import MaskMeasures, grey_range, overlap
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.thumbnails import thumbnail
from medreasoner_monai.settings.data import CleanSettings
from medreasoner_monai.task.taxonomy import many_parts

_VERSION = 1


class Problem(NamedTuple):
    """Why a mask is set aside: in a word or two, and as a sentence."""

    code: str
    reason: str


@dataclass(frozen=True)
class Cleaner:
    """Checks each mask of a picture against the limits. It is sent to other processes, so it can be pickled."""

    settings: CleanSettings = field(default_factory=CleanSettings)

    def identity(self) -> dict[str, Any]:
        """What decides its results."""
        text = {"text_reader": reader_version()} if self.settings.text != "off" else {}
        return {"version": _VERSION, **self.settings.model_dump(mode="json"), **text}

    def clean(self, picture: LabelledImage) -> tuple[LabelledImage, list[Reject]]:
        """The picture with the targets that are kept, and a reject for each other one, in their order.

        The names of the others are added to ``set_aside`` and leave ``labelled``, so that none is called absent. The
        picture comes back even where no target is left: something may be asked about in vain.
        """
        whole = self._blank(picture.image) or (self._text(picture.image) if picture.targets else None)
        kept: dict[int, Target] = {}
        found: dict[int, Reject] = {}
        # Of two names for one mask the more general is right more often (lung, not infection): it has fewer words.
        for number, target in sorted(enumerate(picture.targets), key=lambda entry: len(entry[1].name.split())):
            problem = whole or self._problem(picture.image, target, kept.values())
            if problem is None:
                kept[number] = target
            else:
                found[number] = _reject(picture, target, problem)
        if not found:
            return picture, []
        rejects = [reject for _, reject in sorted(found.items())]
        names = {target.name for target in picture.targets} - {target.name for target in kept.values()}
        cleaned = replace(
            picture,
            targets=tuple(target for _, target in sorted(kept.items())),
            labelled=frozenset() if whole else picture.labelled - names,
            set_aside=picture.set_aside | names,
        )
        return cleaned, rejects

    def _problem(self, image: NDArray[np.uint8], target: Target, kept: Iterable[Target]) -> Problem | None:
        """The first check that a target fails; the cheap ones come first."""
        if not target.mask.any():
            return Problem("empty", "the mask is empty")
        measured = MaskMeasures(target.mask, image)
        return next(self._failed(measured, target, kept), None)

    def _failed(self, measured: MaskMeasures, target: Target, kept: Iterable[Target]) -> Iterator[Problem]:
        s = self.settings
        if s.min_pixels is not None and measured.pixels < s.min_pixels:
            yield Problem(
                "tiny", f"the mask has {measured.pixels} pixels, expected at least {s.min_pixels} (clean.min_pixels)"
            )
        if s.min_share is not None and measured.share < s.min_share:
            yield Problem(
                "tiny",
                f"the mask covers {measured.share:.6%} of the picture, expected at least {s.min_share:.6%} "
                "(clean.min_share)",
            )
        if s.max_share is not None and measured.share > s.max_share:
            yield Problem(
                "huge",
                f"the mask covers {measured.share:.1%} of the picture, expected at most {s.max_share:.0%} "
                "(clean.max_share); it may be inverted",
            )
        for first in kept if s.max_overlap is not None else ():
            if (shared := overlap(first.mask, target.mask)) >= (s.max_overlap or 1):
                yield Problem(
                    "duplicate",
                    f"its mask is that of {first.name} in {first.where} (IoU {shared:.3f}, clean.max_overlap); one of "
                    "the two names is wrong, or both mean the same here",
                )
        yield from self._unseen(measured)
        if s.max_border is not None and measured.border > s.max_border:
            yield Problem(
                "cut off",
                f"{measured.border:.0%} of its outline lies on the picture's border, expected at most "
                f"{s.max_border:.0%} (clean.max_border)",
            )
        if s.min_largest is not None and not self.is_many(target.name) and measured.largest < s.min_largest:
            yield Problem(
                "fragmented",
                f"the largest of its {len(measured.parts)} parts is {measured.largest:.0%} of the mask, expected at "
                f"least {s.min_largest:.0%} (clean.min_largest)",
            )
        contrast = None if s.min_contrast is None else measured.contrast
        if s.min_contrast is not None and contrast is not None and contrast < s.min_contrast:
            yield Problem(
                "low contrast",
                f"its grey values are those around it (difference {contrast:.3f}, expected at least "
                f"{s.min_contrast:g}, clean.min_contrast)",
            )

    def _unseen(self, measured: MaskMeasures) -> Iterator[Problem]:
        s = self.settings
        if s.model_side is None:
            return
        pixels, side = measured.at(s.model_side)
        if pixels < s.visible_pixels or side < s.visible_side:
            yield Problem(
                "not visible",
                f"where the picture's longest side is {s.model_side} pixels it has {pixels:.1f} pixels and is "
                f"{side:.1f} across, expected at least {s.visible_pixels} and {s.visible_side:g} (clean.model_side)",
            )

    def _blank(self, image: NDArray[np.uint8]) -> Problem | None:
        limit = self.settings.min_range
        if limit is None or (found := grey_range(image)) >= limit:
            return None
        return Problem(
            "blank picture",
            f"98 % of the picture's values lie within {found:.0f} grey levels, expected at least {limit:g} "
            "(clean.min_range)",
        )

    def _text(self, image: NDArray[np.uint8]) -> Problem | None:
        s = self.settings
        if s.text == "off" or (found := characters(lines_of_text(image), s.text_allowed)) < s.text_characters:
            return None
        return Problem(
            "burnt-in text",
            f"{found} letters and digits were read on the picture, expected fewer than {s.text_characters} "
            "(clean.text_characters); remove them from the pixels, or allow the words if they name nobody",
        )

    def is_many(self, name: str) -> bool:
        """Whether a target of that name is many parts by nature, by the taxonomy or by a word of ``many_parts``."""
        return many_parts(name) or not set(re.findall(r"[a-z]+", name.lower())).isdisjoint(self.settings.many_parts)


def _reject(picture: LabelledImage, target: Target, problem: Problem) -> Reject:
    return Reject(
        target.where,
        f"{target.name}: {problem.reason}",
        "clean",
        thumbnail=thumbnail(picture.image, target.mask),
        code=problem.code,
    )
