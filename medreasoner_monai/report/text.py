"""Values as a reader should see them. What is not known is a dash, never "nan" or "None"."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

DASH = "–"
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")


def finite(value: Any) -> float | None:
    """The value as a float, or None if it is no finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def number(value: Any, digits: int = 3) -> str:
    """A measure.

    >>> number(0.51249), number(float("nan")), number(-0.0001)
    ('0.512', '–', '0.000')
    """
    found = finite(value)
    if found is None:
        return DASH
    text = f"{found:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def signed(value: Any, digits: int = 3) -> str:
    """A difference.

    >>> signed(0.0312), signed(-0.2), signed(None)
    ('+0.031', '−0.200', '–')
    """
    found = finite(value)
    return f"+{number(found, digits)}" if found is not None and found > 0 else number(found, digits)


def interval(estimate: Mapping[str, Any] | None, digits: int = 3) -> str:
    r"""The interval of an estimate; in a narrow column it breaks after "to" alone.

    >>> interval({"low": 0.48, "high": 0.55})
    '0.480\xa0to 0.550'
    """
    low, high = (finite((estimate or {}).get(end)) for end in ("low", "high"))
    return DASH if low is None or high is None else f"{number(low, digits)}\u00a0to {number(high, digits)}"


def percent(value: Any, digits: int = 1) -> str:
    """A share.

    >>> percent(0.0123)
    '1.2 %'
    """
    found = finite(value)
    return DASH if found is None else f"{number(100 * found, digits)} %"


def count(value: Any) -> str:
    """How many.

    >>> count(2400)
    '2,400'
    """
    found = finite(value)
    return DASH if found is None else f"{round(found):,}"


def loose(value: Any) -> str:
    """A value whose kind is not known beforehand: limits, settings, facts.

    >>> loose(0.05), loose(12), loose(None), loose("yes"), loose(True)
    ('0.05', '12', '–', 'yes', 'yes')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return DASH
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.4g}".replace("-", "−")
    return str(value)


def duration(seconds: Any) -> str:
    """Wall-clock time.

    >>> duration(7.26), duration(83), duration(3720)
    ('7.3 s', '1 min 23 s', '1 h 02 min')
    """
    found = finite(seconds)
    if found is None:
        return DASH
    if found < 60:
        return f"{found:.1f} s"
    minutes, rest = divmod(round(found), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def short(digest: Any) -> str:
    """The beginning of a digest, enough to tell two apart."""
    return str(digest)[:12] if digest else DASH


def without_secrets(text: str) -> str:
    """Addresses without the user and password that may stand in them.

    >>> without_secrets("http://me:secret@host/x")
    'http://…@host/x'
    """
    return _USER_IN_ADDRESS.sub("…@", text)
