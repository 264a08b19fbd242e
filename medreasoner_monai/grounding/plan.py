"""The plan of a request: which slices of which series are asked what, and whether a mask is carried on. No model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.request import GroundingSettings, Question, Slices, check_questions

ALL_UP_TO = 16
"""With ``auto``, a series of at most this many slices is asked slice by slice."""
CANDIDATES = 8
"""With ``auto``, a longer series is asked on this many slices, evenly spread, and the best answer is carried on."""
BATCH = 4
"""Questions per batch; a picture's questions stay together, so that it is encoded once."""


@dataclass(frozen=True)
class Plan:
    """What will be done for one request.

    Attributes
    ----------
    series:
        What is asked.
    questions:
        Checked, each text once; a finding each.
    slices:
        Numbers of the asked slices, counted from 0 in series order.
    carry:
        Whether the key slice's mask is carried through the slices that are not asked.
    settings:
        How each slice is asked and shown.
    """

    series: Series
    questions: tuple[Question, ...]
    slices: tuple[int, ...]
    carry: bool
    settings: GroundingSettings

    @property
    def asked_steps(self) -> int:
        """Steps of the progress that are questions answered."""
        return len(self.slices) * len(self.questions)

    @property
    def carried_steps(self) -> int:
        """Steps of the progress that each question's carrying takes at most."""
        return len(self.series) - 1 if self.carry else 0

    @property
    def steps(self) -> int:
        """All steps of the progress."""
        return self.asked_steps + self.carried_steps * len(self.questions)

    def batches(self, slices: Sequence[int]) -> Iterator[Sequence[int]]:
        """Slices in the portions in which they are shown to the model with all their questions, in order.

        How slices are portioned may change the last digits of what a model computes: whoever asks does it by this.
        """
        size = max(1, BATCH // len(self.questions))
        for start in range(0, len(slices), size):
            yield slices[start : start + size]


def make_plan(series: Series, questions: str | Sequence[str | Question], settings: GroundingSettings) -> Plan:
    """The plan for a request.

    Raises
    ------
    InputError
        If a question is empty or too long, a category is unknown, or there is no such slice.
    """
    slices = tuple(slices_to_ask(len(series), settings.slices))
    left_out = len(slices) < len(series)
    # A clip's frames have no place in space, but follow each other as slices do.
    continuous = series.voxel_ml is not None or len(series.headers) == 1
    carry = left_out and (settings.carry == "on" or (settings.carry == "auto" and continuous))
    return Plan(series, check_questions(questions), slices, carry, settings)


def check_kind(plan: Plan, kind: SegKind) -> None:
    """Whether answers of this plan can be written as such a segmentation; asked before a model runs.

    A fractional one needs a probability on every marked slice. A single answer has none, nor has a slice that the mask
    is carried to.

    Raises
    ------
    InputError
        If it needs confidences that the plan does not measure.
    """
    if kind != "fractional":
        return
    if plan.settings.answers == 1:
        raise InputError(
            "a fractional segmentation needs a confidence, and a single answer has none: ask for several answers "
            "(answers above 1), or write a binary segmentation"
        )
    if plan.carry:
        raise InputError(
            "a fractional segmentation needs a confidence on every slice, and slices that the mask is carried to have "
            "none: ask all slices (slices all) or carry off, or write a binary segmentation"
        )


def slices_to_ask(count: int, slices: Slices) -> list[int]:
    """Numbers of the slices to ask in a series of ``count``, counted from 0 in series order.

    Raises
    ------
    InputError
        If there is no such slice.
    """
    if slices == "all" or (slices == "auto" and count <= ALL_UP_TO):
        return list(range(count))
    if slices == "auto":
        # The middle of equal parts: the first and last slices of a scan show little.
        return [int((i + 0.5) * count / CANDIDATES) for i in range(CANDIDATES)]
    if not 0 <= slices < count:
        raise InputError(f"slice {slices} is asked for, but the series has {count}, counted from 0 to {count - 1}")
    return [slices]
