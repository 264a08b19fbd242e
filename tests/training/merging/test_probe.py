"""Probes of a live model, and what they catch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.reasoners.folder import load_processor
from medreasoner_monai.reasoners.starter import build
from medreasoner_monai.settings.starter import StarterSettings
from medreasoner_monai.training.merging.probe import Probe, check_probe, make_probe, tolerance
from tests.training.merging.conftest import load

MATRIX = "model.language_model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def live(tiny_model: Path) -> Any:
    return load(tiny_model)


def test_folder_of_the_live_model_answers_the_same(live: Any, tiny_model: Path, tmp_path: Path) -> None:
    path = make_probe(live, load_processor(tiny_model)).save(tmp_path)
    probe = Probe.load(path)
    assert probe.logits.shape == (12, live.config.text_config.vocab_size)
    assert (probe.dtype, probe.device) == ("float32", "cpu")
    assert check_probe(tiny_model, probe) < 1e-5
    assert [p.name for p in tmp_path.iterdir()] == ["probe.safetensors"]


def test_probe_is_the_same_every_time_and_small(live: Any, tiny_model: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    first = make_probe(live, load_processor(tiny_model))
    before = torch.random.get_rng_state()
    second = make_probe(live, load_processor(tiny_model))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first.logits, second.logits)
    assert all(torch.equal(first.inputs[name], second.inputs[name]) for name in first.inputs)
    assert first.inputs["input_ids"].shape[1] < 64
    assert first.inputs["image_grid_thw"].tolist() == [[1, 4, 4]]


def test_the_picture_counts(live: Any, tiny_model: Path) -> None:
    """A probe that did not look at the picture would not see a broken vision tower."""
    probe = make_probe(live, load_processor(tiny_model))
    dark = {**probe.inputs, "pixel_values": torch.zeros_like(probe.inputs["pixel_values"])}
    with torch.no_grad():
        unseen = live.eval()(**dark).logits[0, -12:]
    assert (unseen - probe.logits).abs().max() > 100 * tolerance(probe, 4, stored_rounded=False)


def test_modes_and_gradients_stay_as_they_were(live: Any, tiny_model: Path) -> None:
    live.train()
    live.model.visual.eval()
    modes = [m.training for m in live.modules()]
    make_probe(live, load_processor(tiny_model))
    assert [m.training for m in live.modules()] == modes
    assert torch.is_grad_enabled()
    assert all(p.grad is None for p in live.parameters())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_tolerance_lies_between_rounding_and_a_wrong_matrix(
    dtype: torch.dtype, tiny_model: Path, tmp_path: Path
) -> None:
    """The live model is of one precision, the folder's of the other; then the folder has one matrix halved."""
    other = torch.bfloat16 if dtype == torch.float32 else torch.float32
    probe = make_probe(load(tiny_model, dtype), load_processor(tiny_model))
    allowed = tolerance(probe, 4, stored_rounded=True)
    for scale, fits in ((1.0, True), (0.5, False)):
        model = load(tiny_model)
        model.state_dict()[MATRIX].mul_(scale)
        folder = tmp_path / str(scale)
        model.to(other).save_pretrained(folder)
        load_processor(tiny_model).save_pretrained(folder)
        assert (check_probe(folder, probe) <= allowed) is fits


def test_small_change_is_found_in_full_precision(tiny_model: Path, tmp_path: Path) -> None:
    probe = make_probe(load(tiny_model), load_processor(tiny_model))
    model = load(tiny_model)
    model.state_dict()[MATRIX].mul_(1.01)
    model.save_pretrained(tmp_path)
    load_processor(tiny_model).save_pretrained(tmp_path)
    assert check_probe(tmp_path, probe) > tolerance(probe, 4, stored_rounded=False)


def test_diverged_live_model_never_fits(live: Any, tiny_model: Path) -> None:
    probe = make_probe(live, load_processor(tiny_model))
    probe.logits[0, 0] = math.nan
    assert check_probe(tiny_model, probe) == math.inf


def test_other_tokenizer_is_noticed(live: Any, tiny_model: Path, tmp_path: Path) -> None:
    probe = make_probe(live, load_processor(tiny_model))
    sizes = StarterSettings(hidden_size=32, layers=2, heads=2, vision_hidden_size=32, vision_layers=2, vision_heads=2)
    build(tmp_path, ["Quite other words."], sizes.model_copy(update={"vocabulary": 700}))
    with pytest.raises(ArtifactError, match=r"processor makes other input_ids than the training's"):
        check_probe(tmp_path, probe)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x02\0\0\0\0\0\0\0{}"])
def test_file_that_is_no_probe_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "probe.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"cannot be read as a probe"):
        Probe.load(tmp_path / "probe.safetensors")
