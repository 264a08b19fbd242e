"""SAM's weights are loaded whole, unchanged and as data, or not at all."""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import segment_anything
import torch

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import file_digest
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.segmenters.sam_weights import untrained
from medreasoner_monai.task.geometry import Frame
from tests.segmenters.sams import picture, prompt, small_sam


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the package would build is small here, and vit_l larger than vit_b."""
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_b", small_sam)
    monkeypatch.setitem(segment_anything.sam_model_registry, "vit_l", lambda: small_sam(width=48))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save(untrained(small_sam, 3).state_dict(), tmp_path / "sam.pth")
    return tmp_path / "sam.pth"


def changed(path: Path, **changes: torch.Tensor | None) -> str:
    """The same weights with some replaced, added, or (None) taken out; ``__`` stands for a dot."""
    state: dict[str, Any] = torch.load(path, weights_only=True)
    for name, value in changes.items():
        name = name.replace("__", ".")
        state.pop(name, None)
        if value is not None:
            state[name] = value
    torch.save(state, path)
    return str(path)


def test_weights_from_a_file_give_the_masks_of_the_model_they_were_saved_from(weights: Path) -> None:
    image, asked = picture(60, 90), [prompt(Frame(90, 60))]
    found = build("sam", weights=str(weights), sha256=file_digest(weights))
    same = build("sam", random=True, seed=3)
    np.testing.assert_array_equal(found.segment(found.embed(image), asked), same.segment(same.embed(image), asked))


def test_the_digest_is_of_the_weights_not_of_their_place(weights: Path, tmp_path: Path) -> None:
    digest = build("sam", weights=str(weights)).digest
    moved = weights.rename(tmp_path / "elsewhere.pth")
    assert build("sam", weights=str(moved)).digest == digest
    other = changed(moved, mask_decoder__iou_token__weight=torch.zeros(1, 32))
    digests = {digest, build("sam", weights=other).digest, build("sam", random=True).digest}
    digests |= {build("sam", random=True, seed=1).digest, build("sam", variant="vit_l", random=True).digest}
    assert len(digests) == 5


def test_without_weights_it_says_what_to_give() -> None:
    with pytest.raises(ConfigError, match=r"needs weights: give `weights`, the path of a \.pth.*vit_b, vit_l, vit_h"):
        build("sam")


def test_weights_and_random_ones_exclude_each_other(weights: Path) -> None:
    with pytest.raises(ConfigError, match="give `random: true` instead"):
        build("sam", weights=str(weights), random=True)


def test_an_unknown_variant_is_refused_with_a_hint() -> None:
    with pytest.raises(
        ConfigError, match="no variant 'vitb'; known are vit_b, vit_l, vit_h, medsam. Did you mean 'vit_b'?"
    ):
        build("sam", variant="vitb", random=True)


def test_a_missing_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="there is no file nowhere.pth"):
        build("sam", weights="nowhere.pth")


def test_a_file_with_another_sha256_is_refused(weights: Path) -> None:
    with pytest.raises(ConfigError, match=f"has sha256 {file_digest(weights)}, expected 0+: it is another file"):
        build("sam", weights=str(weights), sha256="0" * 64)


def test_a_missing_weight_is_named(weights: Path) -> None:
    path = changed(weights, mask_decoder__iou_token__weight=None, image_encoder__pos_embed=None)
    with pytest.raises(ConfigError, match="it lacks image_encoder.pos_embed, mask_decoder.iou_token.weight. Is"):
        build("sam", weights=path)


def test_a_weight_too_many_is_named(weights: Path) -> None:
    path = changed(weights, vision_encoder__layers=torch.zeros(1))
    with pytest.raises(ConfigError, match="it should not have vision_encoder.layers. Is"):
        build("sam", weights=path)


def test_another_variants_weights_are_refused_naming_the_first(weights: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"not hold SAM vit_l.*of another shape is image_encoder\.\S+, \S+, \S+ and \d+ more"
    ):
        build("sam", weights=str(weights), variant="vit_l")


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(ConfigError, match="does not hold tensors by name"):
        build("sam", weights=str(tmp_path / "list.pth"))


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sam.pth").write_bytes(content)
    with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
        build("sam", weights=str(tmp_path / "sam.pth"))


def test_code_in_a_file_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    with (tmp_path / "evil.pth").open("wb") as file:
        pickle.dump({"image_encoder.pos_embed": Evil()}, file, protocol=2)
    torch.save({"image_encoder.pos_embed": Evil()}, tmp_path / "zipped.pth")
    for name in ("evil.pth", "zipped.pth"):
        with pytest.raises(ConfigError, match="cannot be read as weights and nothing else"):
            build("sam", weights=str(tmp_path / name))
    assert not (tmp_path / "ran").exists()


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "segment_anything", None)
    with pytest.raises(ConfigError, match=r"needs segment-anything: .*-e '\.\[sam\]'"):
        build("sam", random=True)


def test_untrained_weights_leave_other_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    untrained(small_sam, 0)
    torch.testing.assert_close(torch.rand(3), expected)
