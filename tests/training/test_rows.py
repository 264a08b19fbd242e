"""Metrics as JSON: what is no finite number is named, never lost and never written as NaN."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.training.rows import NOT_FINITE, finite_values, measured, number

VALUES = st.floats() | st.none() | st.integers() | st.text(max_size=3)


def test_what_is_not_finite_is_named() -> None:
    logs = {"loss": float("nan"), "kl": 0.25, "grad_norm": float("inf"), "rewards/x/mean": None, "reward": -1}
    assert finite_values(logs) == {"kl": 0.25, "reward": -1.0, NOT_FINITE: ["loss", "grad_norm", "rewards/x/mean"]}
    assert NOT_FINITE not in finite_values({"kl": 0.25})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        ("2.5", 2.5),
        (torch.tensor(3.0), 3.0),
        ("x", None),
        ([1], None),
        (10**400, None),
        (-float("inf"), None),
    ],
)
def test_a_number_is_finite_or_none(value: Any, expected: float | None) -> None:
    assert number(value) == expected


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=6))
def test_a_row_is_json_and_holds_every_name_once(logs: dict[str, Any]) -> None:
    row = finite_values({name: value for name, value in logs.items() if name != NOT_FINITE})
    text = json.dumps(row, allow_nan=False)
    missing = json.loads(text).pop(NOT_FINITE, [])
    assert sorted([*(n for n in row if n != NOT_FINITE), *missing]) == sorted(n for n in logs if n != NOT_FINITE)


def test_a_tracker_gets_numbers_alone_and_how_many_were_none() -> None:
    row = {"step": 4, "total": 9, "kl": 0.5, "note": "text", NOT_FINITE: ["loss", "reward"]}
    assert measured(row) == {"kl": 0.5, NOT_FINITE: 2.0}
