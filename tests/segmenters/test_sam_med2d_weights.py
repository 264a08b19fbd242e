"""SAM-Med2D's weights are loaded whole, from under their key and as data, or not at all."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.segmenters import sam_med2d_model
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.segmenters.sam_weights import untrained
from medreasoner_monai.task.geometry import Frame
from tests.segmenters.sams import picture, prompt, small_med2d, small_sam


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would be built is small here."""
    monkeypatch.setattr(sam_med2d_model, "build", small_med2d)


def saved(path: Path, model: Any = None, **beside: Any) -> Path:
    """A file in the published layout."""
    state = (untrained(small_med2d, 3) if model is None else model).state_dict()
    torch.save({"model": state, **beside}, path)
    return path


def changed(path: Path, **changes: torch.Tensor | None) -> str:
    """The same with some weights replaced, added, or (None) taken out; ``__`` stands for a dot."""
    held: dict[str, Any] = torch.load(path, weights_only=True)
    for name, value in changes.items():
        held["model"].pop(name.replace("__", "."), None)
        if value is not None:
            held["model"][name.replace("__", ".")] = value
    torch.save(held, path)
    return str(path)


def test_weights_from_a_file_give_the_masks_of_the_model_they_were_saved_from(tmp_path: Path) -> None:
    path = saved(tmp_path / "med2d.pth")
    image, asked = picture(60, 90), [prompt(Frame(90, 60))]
    found = build("sam-med2d", weights=str(path), sha256=file_digest(path).upper())
    same = build("sam-med2d", random=True, seed=3)
    np.testing.assert_array_equal(found.segment(found.embed(image), asked), same.segment(same.embed(image), asked))
    assert found.digest != same.digest


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
@pytest.mark.parametrize("whole", [True, False], ids=["as-an-object", "its-state"])
def test_an_optimizer_beside_the_weights_is_not_looked_at(tmp_path: Path, kind: Any, whole: bool) -> None:
    model = untrained(small_med2d, 3)
    optimizer = kind(model.parameters(), lr=1e-3)
    model.mask_decoder.iou_token.weight.sum().backward()
    optimizer.step()
    path = saved(tmp_path / "epoch3.pth", model, optimizer=optimizer if whole else optimizer.state_dict(), epoch=3)
    found: Any = build("sam-med2d", weights=str(path))
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found.model.state_dict()[name], value, rtol=0, atol=0)


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[Path]]:
            return Path.touch, (tmp_path / "ran",)

    path = saved(tmp_path / "evil.pth", optimizer=Evil())
    with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
        build("sam-med2d", weights=str(path))
    assert not (tmp_path / "ran").exists()


def test_a_missing_adapter_weight_is_named(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "a.pth"), image_encoder__blocks__1__Adapter__spatial__2__weight=None)
    with pytest.raises(ConfigError, match=r"it lacks image_encoder\.blocks\.1\.Adapter\.spatial\.2\.weight\. Is it"):
        build("sam-med2d", weights=path)


def test_a_weight_too_many_is_named(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "a.pth"), image_encoder__blocks__9__Adapter__norm__bias=torch.zeros(8))
    with pytest.raises(ConfigError, match=r"should not have image_encoder\.blocks\.9\.Adapter\.norm\.bias\. Is it"):
        build("sam-med2d", weights=path)


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "a.pth"), mask_decoder__iou_token__weight=torch.zeros(1, 31))
    with pytest.raises(ConfigError, match=r"of another shape is mask_decoder\.iou_token\.weight\. Is it"):
        build("sam-med2d", weights=path)


def test_a_relative_encoding_alone_of_another_size_is_refused(tmp_path: Path) -> None:
    path = changed(saved(tmp_path / "a.pth"), image_encoder__blocks__1__attn__rel_pos_h=torch.zeros(31, 16))
    with pytest.raises(ConfigError, match=r"of another shape is image_encoder\.blocks\.1\.attn\.rel_pos_h\. Is it"):
        build("sam-med2d", weights=path)


def test_weights_of_another_picture_size_are_interpolated_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    larger = untrained(lambda: small_med2d(side=192), 3)
    given = larger.state_dict()
    place, row = "image_encoder.pos_embed", "image_encoder.blocks.1.attn.rel_pos_h"
    with caplog.at_level(logging.WARNING, logger="medreasoner"):
        found: Any = build("sam-med2d", weights=str(saved(tmp_path / "192.pth", larger)))

    state = found.model.state_dict()
    assert given[place].shape == (1, 12, 12, 32) and state[place].shape == (1, 8, 8, 32)
    channel = F.interpolate(given[place][None, ..., 5], (8, 8), mode="bilinear", align_corners=False)
    torch.testing.assert_close(state[place][..., 5], channel[0])
    # As a picture one channel deep, which is how the original treats them.
    assert given[row].shape == (23, 16) and state[row].shape == (15, 16)
    rows = F.interpolate(given[row][None, None], (15, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(state[row], rows[0, 0])
    windowed = "image_encoder.blocks.0.attn.rel_pos_h"
    torch.testing.assert_close(state[windowed], given[windowed], rtol=0, atol=0)
    assert place in caplog.text and row in caplog.text and windowed not in caplog.text
    (mask,) = found.segment(found.embed(picture(60, 90)), [prompt(Frame(90, 60))])
    assert mask.shape == (60, 90)


def test_weights_that_fit_are_not_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="medreasoner"):
        build("sam-med2d", weights=str(saved(tmp_path / "a.pth")))
    assert not caplog.text


def test_sams_own_weights_are_sent_to_its_engine(tmp_path: Path) -> None:
    torch.save(untrained(small_sam, 0).state_dict(), tmp_path / "sam.pth")
    with pytest.raises(ConfigError, match="nothing under the key 'model'.*go to the segmenter 'sam'"):
        build("sam-med2d", weights=str(tmp_path / "sam.pth"))


def test_weights_without_adapters_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "ft-sam.pth", untrained(small_sam, 0))
    with pytest.raises(ConfigError, match=r"does not hold SAM-Med2D.*it lacks \S+Adapter\S+, \S+, \S+ and \d+ more"):
        build("sam-med2d", weights=str(path))


def test_something_else_under_the_key_is_refused(tmp_path: Path) -> None:
    torch.save({"model": [1, 2]}, tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="does not hold tensors by name"):
        build("sam-med2d", weights=str(tmp_path / "list.pth"))


def test_a_file_of_an_old_torch_is_read_too(tmp_path: Path) -> None:
    model = untrained(small_med2d, 3)
    torch.save({"model": model.state_dict()}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    found: Any = build("sam-med2d", weights=str(tmp_path / "old.pth"))
    torch.testing.assert_close(found.model.mask_decoder.iou_token.weight, model.mask_decoder.iou_token.weight)


def test_without_weights_it_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"'sam-med2d' needs weights: give `weights`.*sam-med2d_b\.pth"):
        build("sam-med2d")


def test_a_file_with_another_sha256_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.pth")
    with pytest.raises(ConfigError, match=f"has sha256 {file_digest(path)}, expected 0+: it is another file"):
        build("sam-med2d", weights=str(path), sha256="0" * 64)


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ConfigError, match=r"'sam-med2d' needs segment-anything: .*-e '\.\[sam\]'"):
        build("sam-med2d", random=True)


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigError, match="the segmenter 'sam-med2d' cannot use the device 'nowhere'"):
        build("sam-med2d", random=True, device="nowhere")
