"""A row of metrics as a training writes it: numbers by name, and by name what was no finite number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NOT_FINITE = "not_finite"
"""The column that lists the names of the values that were NaN or infinite; absent where all were numbers."""


def finite_values(logs: Mapping[str, Any]) -> dict[str, Any]:
    """What a trainer logged, fit for JSON: NaN and infinity are left out, and their names listed.

    >>> finite_values({"loss": float("nan"), "kl": 0.5, "rewards/bbox_iou/mean": None})
    {'kl': 0.5, 'not_finite': ['loss', 'rewards/bbox_iou/mean']}
    """
    row: dict[str, Any] = {}
    missing = []
    for name, value in logs.items():
        found = number(value)
        if found is None:
            missing.append(name)
        else:
            row[name] = found
    return row | ({NOT_FINITE: missing} if missing else {})


def number(value: Any) -> float | None:
    """The value as a finite float, or None for anything else. TRL logs None where no value was a number."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return found if math.isfinite(found) else None


def measured(row: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a row as a tracker takes them; how many were not finite stands under :data:`NOT_FINITE`.

    >>> measured({"step": 3, "total": 9, "time": 1.7e9, "kl": 0.5, "not_finite": ["loss"]})
    {'kl': 0.5, 'not_finite': 1.0}
    """
    out = {}
    for name, value in row.items():
        if name in ("step", "total", "time"):
            continue
        found = float(len(value)) if name == NOT_FINITE and isinstance(value, list) else number(value)
        if found is not None:
            out[name] = found
    return out
