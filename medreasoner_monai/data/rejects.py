"""What curation sets aside, with the reason, and the ids that a data set has taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal

Step = Literal["read", "clean", "ask", "verify", "review", "assemble"]
"""The step of curation that set something aside."""


@dataclass(frozen=True)
class Reject:
    """Something that was set aside, and why.

    Attributes
    ----------
    where:
        The file, row or label, as a person finds it in the source.
    reason:
        What was expected, what was found and what to do; one sentence.
    step:
        Where it was set aside.
    masks:
        How many masks went with it; a question without a mask (an absent target) counts 0.
    thumbnail:
        A small PNG of the picture with the mask's outline, where there is a picture to show.
    code:
        The reason in a word or two (``tiny``, ``low contrast``), to count by; empty where there is none.
    """

    where: str
    reason: str
    step: Step = "read"
    masks: int = 1
    thumbnail: bytes | None = None
    code: str = ""


class Ids:
    """The ids of a data set's samples and where each was first met. Everything downstream tells samples by their id.

    >>> ids = Ids({"a": "the train split"})
    >>> ids.refuse("b", "row 0"), ids.refuse("a", "row 1")
    (None, "sample a: another sample in the train split has this id; give each sample its own")
    """

    def __init__(self, taken: Mapping[str, str] | None = None) -> None:
        self._first = dict(taken or {})

    def refuse(self, name: str, where: str) -> str | None:
        """Take an id; the reason why it cannot be had, or None where it was free."""
        if name in self._first:
            return f"sample {name}: another sample in {self._first[name]} has this id; give each sample its own"
        self._first[name] = where
        return None

    def free(self, name: str) -> str:
        """The name with the first number behind it that makes it an id nobody has."""
        return next(made for n in count(2) if (made := f"{name} ({n})") not in self._first)
