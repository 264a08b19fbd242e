"""From the agreement of several answers to the box IoU that it predicts: a fitted table, applied by interpolation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np

from medreasoner_monai.errors import InputError
from medreasoner_monai.files import object_digest

DIGITS = 5
"""Confidences are rounded to so many decimals wherever they are kept, so that a threshold cuts the same everywhere."""
_KEYS = "agreement and expected (lists of numbers), answers, temperature and n"


@dataclass(frozen=True)
class Calibration:
    """A monotone map from agreement to expected box IoU, piecewise linear between knots and constant beyond them.

    Fitted by :func:`~medreasoner_monai.evaluation.calibration.fit_calibration`. It holds for the model that it was
    fitted with, asked as often and at the same temperature: another number of answers has another agreement.

    Attributes
    ----------
    agreement, expected:
        The knots, ``(K,)`` each, in [0, 1]: agreement strictly increasing, expected box IoU never decreasing.
    answers, temperature:
        How many answers were drawn per question, and how.
    n:
        Number of validation answers that it was fitted on.

    Raises
    ------
    InputError
        If the knots are not of this form.
    """

    agreement: tuple[float, ...]
    expected: tuple[float, ...]
    answers: int
    temperature: float
    n: int

    def __post_init__(self) -> None:
        x, y = np.asarray(self.agreement, dtype=float), np.asarray(self.expected, dtype=float)
        if x.size == 0 or x.shape != y.shape:
            raise InputError(f"a calibration needs as many agreements as expected values, got {x.size} and {y.size}")
        # Written so that NaN fails too.
        if not (np.all(np.diff(x) > 0) and np.all(np.diff(y) >= 0) and all(0 <= v <= 1 for v in (*x, *y))):
            raise InputError(
                "a calibration's knots must lie in [0, 1], its agreements increase and its expected values not "
                f"decrease, got {list(self.agreement)} and {list(self.expected)}"
            )

    def __call__(self, agreement: float) -> float:
        """The expected box IoU for an agreement, rounded to :data:`DIGITS`.

        >>> Calibration((0.2, 0.8), (0.1, 0.4), 4, 0.7, 120)(0.5)
        0.25
        """
        return round(float(np.interp(agreement, self.agreement, self.expected)), DIGITS)

    def least_agreement(self, expected: float) -> float:
        """The least agreement with at least that expected box IoU, 0 if all have it and infinite if none has.

        >>> Calibration((0.2, 0.8), (0.1, 0.4), 4, 0.7, 120).least_agreement(0.25)
        0.5
        """
        x, y = self.agreement, self.expected
        if expected <= y[0]:
            return 0.0
        if expected > y[-1]:
            return math.inf
        at = next(i for i, value in enumerate(y) if value >= expected)
        share = (expected - y[at - 1]) / (y[at] - y[at - 1])
        return round(x[at - 1] + share * (x[at] - x[at - 1]), DIGITS)

    def fits(self, answers: int, temperature: float) -> bool:
        """Whether it was fitted on answers that are drawn like this."""
        return answers == self.answers and math.isclose(temperature, self.temperature)

    @cached_property
    def digest(self) -> str:
        """sha256 of the table and of what it was fitted on."""
        return object_digest(self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def read(cls, content: object) -> Calibration:
        """What :meth:`as_dict` wrote.

        Raises
        ------
        InputError
            If it is something else.
        """
        if not isinstance(content, Mapping):
            raise InputError(f"a calibration is an object with {_KEYS}, got {type(content).__name__}")
        try:
            agreement, expected = (_knots(content[name]) for name in ("agreement", "expected"))
            drawn = int(content["answers"]), float(content["temperature"])
            return cls(agreement, expected, *drawn, n=int(content["n"]))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"a calibration is an object with {_KEYS}; {type(error).__name__}: {error}") from None


def _knots(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(v) for v in values)
