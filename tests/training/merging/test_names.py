"""Names that parameters have had, and have."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from safetensors import safe_open

from medreasoner_monai.training.merging import fsdp, names
from medreasoner_monai.training.merging.names import live_name
from tests.training.merging.conftest import load


def test_published_names_become_those_of_the_model(tiny_model: Path) -> None:
    """Files keep the layout of the published weights, so transformers' own loading is the second opinion."""
    with safe_open(tiny_model / "model.safetensors", "pt") as file:
        stored = set(file.keys())
    live = set(load(tiny_model).state_dict()) - {"lm_head.weight"}
    assert {live_name(name) for name in stored} == live
    assert stored.isdisjoint(live)


@pytest.mark.parametrize(
    "wrapped",
    [
        "module.model.visual.merger.ln_q.weight",
        "_fsdp_wrapped_module.model.visual._fsdp_wrapped_module.merger.ln_q.weight",
        "_orig_mod.visual.merger._checkpoint_wrapped_module.ln_q.weight",
        "model.visual.merger.ln_q.weight",
    ],
)
def test_wrappers_leave_no_mark(wrapped: str) -> None:
    assert live_name(wrapped) == "model.visual.merger.ln_q.weight"


@pytest.mark.parametrize("module", [names, fsdp])
def test_examples_hold(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]
