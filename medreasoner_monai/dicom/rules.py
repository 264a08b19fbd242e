"""Rendering rules: how the values of a frame become the bytes that a model sees, by name, version and digest.

A rule needs no DICOM: :class:`GreyFrame` holds values and what their source says of showing them, so that pictures for
training are rendered by the rule that the model is used with. Colour is shown as it is stored, whatever the rule.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.dicom.windows import CT_WINDOW, Values, Window, apply_window, percentile_limits, stretch
from medreasoner_monai.errors import DicomError, InputError, nearest
from medreasoner_monai.files import object_digest

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class GreyFrame:
    """A frame of one sample per pixel, before it is windowed.

    Attributes
    ----------
    values:
        ``(rows, columns)``, finite, in the units of the modality: HU for CT (PS3.3 C.11.1).
    modality:
        Such as ``CT``.
    windows:
        Those that come with it, centre and width, in their order.
    function:
        How its windows map values: ``LINEAR``, ``LINEAR_EXACT`` or ``SIGMOID`` (PS3.3 C.11.2.1).
    table:
        Its VOI lookup table, values to [0, 1], or None.
    padded:
        ``(rows, columns)``: pixels without a measurement, shown black; or None.
    inverted:
        Whether low values are bright (MONOCHROME1).
    """

    values: Values
    modality: str = ""
    windows: tuple[Window, ...] = ()
    function: str = "LINEAR"
    table: Callable[[Values], Values] | None = None
    padded: NDArray[np.bool_] | None = None
    inverted: bool = False

    @property
    def unwindowed(self) -> NDArray[np.float32]:
        """The values as far as no window has changed them: negated where low is bright, the least in padding."""
        values = -self.values if self.inverted else self.values
        if self.padded is not None and not self.padded.all():
            values = np.where(self.padded, values[~self.padded].min(), values)
        return values.astype(np.float32)


@dataclass(frozen=True)
class VoiTransform:
    """What was done to the values of one frame.

    Attributes
    ----------
    kind:
        ``window``; ``percentiles`` of this frame; ``table``, its VOI LUT; ``none`` for colour and pictures of bytes.
    window:
        Centre and width, in the units of the modality; None with a table, and for ``none``.
    function:
        Of the window, as for :class:`GreyFrame`.
    """

    kind: Literal["window", "percentiles", "table", "none"]
    window: Window | None = None
    function: str = ""


@dataclass(frozen=True)
class Rule(ABC):
    """A way to render frames. Two rules of one digest give equal pictures of equal frames.

    ``version`` rises when a class gives other pictures than before from the same parameters.
    """

    name: str
    version: ClassVar[int] = 1

    @property
    def digest(self) -> str:
        """sha256 of name, version and parameters."""
        parameters = {k: v for k, v in asdict(self).items() if k != "name"}
        return object_digest({"name": self.name, "version": self.version, "parameters": parameters})

    @abstractmethod
    def transform(self, frame: GreyFrame) -> tuple[Values, VoiTransform]:
        """Values in [0, 1], ``(rows, columns)``, and what was done.

        Raises
        ------
        DicomError
            If the rule is not made for such a frame.
        """

    def render(self, frame: GreyFrame) -> tuple[Image, VoiTransform]:
        """The picture, uint8 ``(rows, columns)``, bright where the tissue is meant to be; padding is black."""
        shown, done = self.transform(frame)
        if frame.inverted:
            shown = 1 - shown
        if frame.padded is not None:
            shown = np.where(frame.padded, 0, shown)
        return np.round(shown * 255).astype(np.uint8), done


@dataclass(frozen=True)
class AsStored(Rule):
    """The file's VOI LUT, else its first window, else ``ct_window`` for CT and ``percentiles`` for anything else."""

    ct_window: Window = CT_WINDOW
    percentiles: tuple[float, float] = (1.0, 99.0)

    def transform(self, frame: GreyFrame) -> tuple[Values, VoiTransform]:
        """See :meth:`Rule.transform`."""
        if frame.table is not None:
            return frame.table(frame.values), VoiTransform("table")
        if frame.windows:
            return _windowed(frame, frame.windows[0], frame.function)
        if frame.modality == "CT":
            return _windowed(frame, self.ct_window, "LINEAR")
        return _stretched(frame, self.percentiles)


@dataclass(frozen=True)
class StoredWindow(Rule):
    """One of the file's windows, counted from 0; the VOI LUT is passed over."""

    number: int

    def transform(self, frame: GreyFrame) -> tuple[Values, VoiTransform]:
        """See :meth:`Rule.transform`."""
        if self.number >= len(frame.windows):
            raise DicomError(
                f"rendering rule {self.name}: the file has {len(frame.windows)} usable window(s), counted from 0"
            )
        return _windowed(frame, frame.windows[self.number], frame.function)


@dataclass(frozen=True)
class FixedWindow(Rule):
    """One window for every frame, LINEAR; of frames of one modality only where it is named."""

    centre: float
    width: float
    modality: str = ""

    def transform(self, frame: GreyFrame) -> tuple[Values, VoiTransform]:
        """See :meth:`Rule.transform`."""
        _check_modality(self.name, self.modality, frame)
        return _windowed(frame, (self.centre, self.width), "LINEAR")


@dataclass(frozen=True)
class Percentiles(Rule):
    """Stretched between two percentiles of the frame's own values, padding left out."""

    low: float
    high: float
    modality: str = ""

    def transform(self, frame: GreyFrame) -> tuple[Values, VoiTransform]:
        """See :meth:`Rule.transform`."""
        _check_modality(self.name, self.modality, frame)
        return _stretched(frame, (self.low, self.high))


def _check_modality(rule: str, modality: str, frame: GreyFrame) -> None:
    if modality and frame.modality != modality:
        raise DicomError(
            f"rendering rule {rule} is for {modality}, and this is {frame.modality or 'of no known modality'}; "
            f"choose {AS_STORED.name} or another rule"
        )


def _windowed(frame: GreyFrame, window: Window, function: str) -> tuple[Values, VoiTransform]:
    return apply_window(frame.values, window, function), VoiTransform("window", window, function)


def _stretched(frame: GreyFrame, percentiles: tuple[float, float]) -> tuple[Values, VoiTransform]:
    low, high = percentile_limits(frame.values, frame.padded, percentiles)
    window = ((low + high) / 2, high - low)
    return stretch(frame.values, low, high), VoiTransform("percentiles", window, "LINEAR_EXACT")


AS_STORED = AsStored("as-stored")
"""The default: as a viewer shows the file before anybody touches the window."""

RULES: Mapping[str, Rule] = {
    rule.name: rule
    for rule in (
        AS_STORED,
        FixedWindow("ct-abdomen", 40, 400, "CT"),
        FixedWindow("ct-liver", 30, 150, "CT"),
        FixedWindow("ct-mediastinum", 50, 350, "CT"),
        FixedWindow("ct-lung", -600, 1500, "CT"),
        FixedWindow("ct-bone", 400, 1800, "CT"),
        FixedWindow("ct-brain", 40, 80, "CT"),
        Percentiles("mr-percentile", 0.5, 99.5, "MR"),
    )
}
"""The rules with a name of their own."""

_NUMBER = r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*"
_PAIR = re.compile(rf"(window|percentile):{_NUMBER},{_NUMBER}")
_STORED = re.compile(r"stored-window:(\d{1,4})")


def parse_rule(text: object) -> Rule:
    """A rule as a person or a config names it.

    One of :data:`RULES`; or ``window:CENTRE,WIDTH`` in the units of the modality; ``percentile:LOW,HIGH``;
    ``stored-window:N``, the file's own window by number (from 0).

    >>> parse_rule("window: 40, 400.0").name
    'window:40,400'

    Raises
    ------
    InputError
        If there is no such rule, a width is not positive, or percentiles are not in order within 0 to 100.
    """
    given = str(text).strip()
    if given in RULES:
        return RULES[given]
    if match := _STORED.fullmatch(given):
        return StoredWindow(f"stored-window:{int(match[1])}", int(match[1]))
    if match := _PAIR.fullmatch(given):
        kind, a, b = match[1], float(match[2]) + 0.0, float(match[3]) + 0.0  # -0.0 is 0.0
        name = f"{kind}:{_plain(a)},{_plain(b)}"
        if kind == "window":
            if not (np.isfinite([a, b]).all() and b > 0):
                raise InputError(f"a window is a centre and a positive width; got {given!r}")
            return FixedWindow(name, a, b)
        if not 0 <= a < b <= 100:
            raise InputError(f"percentiles are two numbers in ascending order from 0 to 100; got {given!r}")
        return Percentiles(name, a, b)
    raise InputError(
        f"unknown rendering rule {given!r}; known are {', '.join(RULES)}, window:CENTRE,WIDTH, percentile:LOW,HIGH "
        f"and stored-window:N.{nearest(given, RULES)}"
    )


def _plain(number: float) -> str:
    return repr(number).removesuffix(".0")
