"""What is asked of a series, and how: questions, slices, carrying, answers per slice, rendering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from medreasoner_monai.dicom.rules import AS_STORED, Rule
from medreasoner_monai.errors import InputError
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.task.prompts import check_question
from medreasoner_monai.task.taxonomy import Codes, category

Slices = int | Literal["all", "auto"]
"""Which slices are asked: one, counted from 0 in series order; all; or candidates by the number there are."""
Carry = Literal["auto", "on", "off"]
"""Whether the key slice's mask is carried through the slices that were not asked."""
Progress = Callable[[int, int], None]
"""Called with the number of steps done and their total: one per question and slice, asked or carried to."""


@dataclass(frozen=True)
class Question:
    """A question, and the taxonomy's category of the region where that is known beforehand."""

    text: str
    category: str | None = None

    def codes(self) -> Codes | None:
        """The category's codes.

        Raises
        ------
        InputError
            If the taxonomy has no such category.
        """
        return category(self.category).codes if self.category else None


@dataclass(frozen=True)
class GroundingSettings:
    """How a series is asked.

    Attributes
    ----------
    slices, carry:
        See :data:`Slices` and :data:`Carry`. ``auto`` carries where slices were left out and the series is a volume or
        a clip.
    answers:
        Answers drawn per slice. With 1 the answer is the likeliest one and has no confidence; with more, answers are
        drawn at ``temperature`` and merged, and their agreement is the confidence.
    temperature:
        Of the drawn answers, above 0.
    threshold:
        Answers of less confidence are withheld: the finding is an abstention. A single answer has no confidence and is
        always given. With a calibration it is an expected box IoU, otherwise an agreement.
    seed:
        Of the drawn answers.
    rendering:
        The rule by which pixel values become the picture that the model sees.
    calibration:
        Of the reasoner's agreement; it is applied where answers are drawn as it was fitted.

    Raises
    ------
    InputError
        If a number is out of its range.
    """

    slices: Slices = "auto"
    carry: Carry = "auto"
    answers: int = 1
    temperature: float = 0.7
    threshold: float = 0.0
    seed: int = 0
    rendering: Rule = AS_STORED
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        if self.answers < 1 or self.temperature <= 0 or not 0 <= self.threshold <= 1:
            raise InputError("answers must be at least 1, temperature above 0 and the threshold between 0 and 1")

    @property
    def applied_calibration(self) -> Calibration | None:
        """The calibration, where it was fitted on as many answers drawn at this temperature."""
        known = self.calibration
        return known if known is not None and known.fits(self.answers, self.temperature) else None

    @property
    def applied_threshold(self) -> float:
        """The threshold on the scale that confidences have: of expected box IoU, or brought back to agreement."""
        if self.calibration is None or self.applied_calibration is not None:
            return self.threshold
        return self.calibration.least_agreement(self.threshold)

    def without_calibration(self) -> GroundingSettings:
        """The same for a reasoner that the calibration does not hold for; the threshold is an agreement."""
        if self.calibration is None:
            return self
        return replace(self, threshold=min(1.0, self.calibration.least_agreement(self.threshold)), calibration=None)


def check_questions(questions: str | Sequence[str | Question]) -> tuple[Question, ...]:
    """Questions with white space folded, each text once; categories are looked up.

    Raises
    ------
    InputError
        If there is none, one is empty or too long, or a category is unknown.
    """
    given = [questions] if isinstance(questions, str) else list(questions)
    if not given:
        raise InputError('there is no question; give one, for example --question "Which organ makes bile?"')
    checked: dict[str, Question] = {}
    for one in given:
        # A command line may have turned digits into numbers.
        question = one if isinstance(one, Question) else Question(str(one))
        text = check_question(question.text)
        question.codes()
        checked.setdefault(text, Question(text, question.category))
    return tuple(checked.values())


def parse_slices(value: str | int) -> Slices:
    """The ``slices`` option as a person types it.

    >>> parse_slices("auto"), parse_slices("2")
    ('auto', 2)

    Raises
    ------
    InputError
        If it is neither ``auto``, ``all`` nor a whole number of at least 0.
    """
    text = str(value).strip().lower()
    if text == "auto":
        return "auto"
    if text == "all":
        return "all"
    if text.isdecimal():
        return int(text)
    raise InputError(f"slices must be auto, all, or a slice number counted from 0; got {value!r}")


def parse_carry(value: object) -> Carry:
    """The ``carry`` option as a person types it; YAML and Fire turn ``on`` and ``off`` into truth values.

    Raises
    ------
    InputError
        If it is neither ``auto``, ``on`` nor ``off``.
    """
    text = {"true": "on", "false": "off"}.get(str(value).strip().lower(), str(value).strip().lower())
    if text == "auto":
        return "auto"
    if text == "on":
        return "on"
    if text == "off":
        return "off"
    raise InputError(f"carry must be auto, on or off; got {value!r}")
