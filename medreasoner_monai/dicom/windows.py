"""From modality values to display values: windows and lookup tables of a file (PS3.3 C.11.2), and which is taken."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from medreasoner_monai.dicom.pixels import frames
from medreasoner_monai.dicom.values import frame_value

Values = NDArray[np.float64]
Window = tuple[float, float]
"""Centre and width, in the units of the modality (HU for CT)."""
CT_WINDOW: Window = (40.0, 400.0)
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")
_VOI = "FrameVOILUTSequence"
_RESCALE = "PixelValueTransformationSequence"


def windows(dataset: Dataset, frame: int = 0) -> list[Window]:
    """The usable windows of a frame, in the file's order; the first is the one that is shown unless told otherwise."""
    centres = _numbers(frame_value(dataset, frame, _VOI, "WindowCenter"))
    widths = _numbers(frame_value(dataset, frame, _VOI, "WindowWidth"))
    return [(c, w) for c, w in zip(centres, widths, strict=False) if np.isfinite(c) and np.isfinite(w) and w > 0]


def window_function(dataset: Dataset, frame: int = 0) -> str:
    """How a window maps values; ``LINEAR`` unless the file says otherwise."""
    found = str(frame_value(dataset, frame, _VOI, "VOILUTFunction") or "LINEAR")
    return found if found in _FUNCTIONS else "LINEAR"


def has_table(dataset: Dataset) -> bool:
    """Whether there is a VOI lookup table, which goes before windows."""
    tables = dataset.get("VOILUTSequence")
    return bool(tables) and "LUTData" in tables[0]


def look_up(item: Dataset, values: Values, words: str) -> Values:
    """Values in [0, 1] by a table, PS3.3 C.11.2.1.1; 8-bit entries may be stored in bytes or in 16-bit words."""
    entries, first, bits = (int(v) for v in item.LUTDescriptor)
    data = item.LUTData
    if isinstance(data, bytes):
        table = np.frombuffer(data, words if len(data) >= 2 * (entries or 2**16) else np.uint8)
    else:
        table = np.asarray(data)
    if not len(table) or not 1 <= bits <= 16 or (entries or 2**16) > len(table):
        raise ValueError("a lookup table that does not fit its descriptor")
    index = np.clip(np.round(values).astype(np.int64) - first, 0, (entries or 2**16) - 1)
    return np.asarray(np.clip(table[index] / (2**bits - 1), 0, 1))


def apply_window(values: Values, window: Window, function: str) -> Values:
    """PS3.3 C.11.2.1.2 and C.11.2.1.3, scaled to [0, 1]."""
    centre, width = window
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.asarray(np.clip((values - centre) / width + 0.5, 0, 1))
    # Width 1 is a threshold: the formula's divisor would be zero.
    return np.asarray(np.clip((values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5, 0, 1))


def percentile_limits(
    values: Values, padded: NDArray[np.bool_] | None, percentiles: tuple[float, float]
) -> tuple[float, float]:
    """Two percentiles of the values that are no padding; the least and greatest of all where those are one value."""
    inside = values if padded is None or padded.all() else values[~padded]
    low, high = np.percentile(inside, percentiles)
    if high <= low:
        low, high = values.min(), max(values.max(), values.min() + 1)
    return float(low), float(high)


def stretch(values: Values, low: float, high: float) -> Values:
    """From ``low`` to ``high``, to [0, 1]."""
    return np.asarray(np.clip((values - low) / (high - low), 0, 1))


def padding(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which stored values stand for no measurement (PS3.3 C.7.5.1.1.2), or None where the file names none."""
    value, limit = dataset.get("PixelPaddingValue"), dataset.get("PixelPaddingRangeLimit")
    ends = [_as_stored(v, dataset, stored.dtype) for v in (value, limit) if v is not None]
    if value is None or None in ends:
        return None
    low, high = min(e for e in ends if e is not None), max(e for e in ends if e is not None)
    return np.asarray((stored >= low) & (stored <= high))


def _as_stored(value: object, dataset: Dataset, kind: np.dtype[Any]) -> int | None:
    """Writers give the padding value now with a sign, now without."""
    try:
        number = int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    span = 1 << int(dataset.BitsAllocated)
    if kind.kind == "i" and number >= span // 2:
        return int(number - span)
    return int(number + span) if kind.kind == "u" and number < 0 else int(number)


def display_notes(header: Dataset) -> Iterator[str]:
    """What the picture had to be made without, and which of several windows is taken; attribute names only."""
    if str(header.get("PhotometricInterpretation") or "") not in ("MONOCHROME1", "MONOCHROME2"):
        return
    own = min(frames(header), len(header.get("PerFrameFunctionalGroupsSequence") or [])) or 1
    yield from dict.fromkeys(note for frame in range(own) for note in _frame_notes(header, frame))


def _frame_notes(header: Dataset, frame: int) -> Iterator[str]:
    slope = frame_value(header, frame, _RESCALE, "RescaleSlope")
    intercept = frame_value(header, frame, _RESCALE, "RescaleIntercept")
    if header.get("Modality") == "CT" and None in (slope, intercept) and not header.get("ModalityLUTSequence"):
        yield "no RescaleSlope and RescaleIntercept in a CT: stored values are taken as they are"
    elif (slope is None) != (intercept is None):
        yield "only one of RescaleSlope and RescaleIntercept, the other is taken as 1 or 0"
    if slope is not None and _numbers(slope)[:1] == [0.0]:
        yield "RescaleSlope is zero: the picture is empty"
    if has_table(header):
        return
    named = (
        _numbers(frame_value(header, frame, _VOI, "WindowCenter")),
        _numbers(frame_value(header, frame, _VOI, "WindowWidth")),
    )
    usable = windows(header, frame)
    if not usable:
        why = "no usable window" if any(named) else "no window"
        how = f"centre {CT_WINDOW[0]:g}, width {CT_WINDOW[1]:g}" if header.get("Modality") == "CT" else "stretched"
        yield f"{why} in the file, shown {how}"
    elif len(usable) < max(map(len, named)):
        yield "a window without a positive width or a partner is left out"
    elif len(usable) > 1:
        yield f"{len(usable)} windows in the file, the first is shown"
    function = frame_value(header, frame, _VOI, "VOILUTFunction")
    if function and str(function) not in _FUNCTIONS:
        yield "unknown VOILUTFunction taken as LINEAR"


def _numbers(value: Any) -> list[float]:
    """A value of any multiplicity as numbers; what is no number becomes NaN, so that partners stay partners."""
    many = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    found = []
    for one in many:
        if one is None or one == "":
            continue
        try:
            found.append(float(one))
        except (TypeError, ValueError):
            found.append(float("nan"))
    return found
