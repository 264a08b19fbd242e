"""How the SAM 2 engine is asked; what it answers is held against the original in ``test_sam2_original.py``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.evaluation.embeddings import Embeddings, Storable
from medreasoner_monai.segmenters import sam2
from medreasoner_monai.segmenters.protocol import Prompt, PromptKind
from medreasoner_monai.segmenters.sam2 import Sam2Segmenter
from medreasoner_monai.segmenters.sam2_layers import Decoded
from medreasoner_monai.task.geometry import Box, Frame, Points, convert
from tests.segmenters.sam2_cases import frame as video_frame
from tests.segmenters.sam2_cases import picture
from tests.segmenters.sam2s import asked, images, model

SAM2 = images()
KINDS = get_args(PromptKind)
FRAME = Frame(210, 150)
EMBEDDING = SAM2.embed(picture())


@contextmanager
def decoder_calls() -> Iterator[list[int]]:
    """How many prompts each call of the decoder had."""
    calls: list[int] = []
    hook = SAM2.model.mask_decoder.transformer.register_forward_hook(
        lambda _, __, given, ___: calls.append(given["point_embeddings"].shape[1]), with_kwargs=True
    )
    yield calls
    hook.remove()


def logits(prompts: list[Prompt]) -> dict[int, np.ndarray]:
    return {i: found for i, found, _ in SAM2.logits(EMBEDDING, prompts)}


def test_prompts_of_all_kinds_come_back_in_order_after_one_decoder_call_a_kind() -> None:
    shifted = Prompt(Box(3, 4, 130, 50, FRAME), Points((5, 6), (20, 30), FRAME))
    prompts = [p.only(kind) for p in (asked("both", FRAME), shifted) for kind in KINDS]

    with decoder_calls() as calls:
        found = logits(prompts)

    assert calls == [2, 2, 2]
    for i, one in enumerate(prompts):
        np.testing.assert_allclose(found[i], logits([one])[0], atol=1e-4)


def test_many_prompts_are_decoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = [Prompt(Box(x, 10, x + 60, 90, FRAME)) for x in range(5)]
    at_once = SAM2.segment(EMBEDDING, prompts)
    monkeypatch.setattr(sam2, "_AT_ONCE", 2)

    with decoder_calls() as calls:
        found = SAM2.segment(EMBEDDING, prompts)

    assert calls == [2, 2, 1]
    np.testing.assert_array_equal(found, at_once)


@settings(max_examples=10, deadline=None)
@given(width=st.integers(1, 2000), height=st.integers(1, 2000))
def test_prompts_may_be_counted_in_another_frame(width: int, height: int) -> None:
    prompt, other = asked("both", FRAME), Frame(width, height, "model")
    assert prompt.box and prompt.points
    moved = Prompt(convert(prompt.box, other), convert(prompt.points, other))

    found = logits([prompt, moved])

    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_a_prompt_off_the_picture_gives_an_empty_mask_and_is_not_decoded() -> None:
    off = [Prompt(Box(300, 5, 350, 15, FRAME)), Prompt(points=Points((-5, 5), (9e300, 3), FRAME))]
    # Points alone say nothing where the box misses the picture.
    off.append(Prompt(off[0].box, Points((10, 10), (20, 20), FRAME)))
    with decoder_calls() as calls:
        *missed, hit = SAM2.segment(EMBEDDING, [*off, asked("both", FRAME)])
    assert calls == [1] and hit.any()
    assert not np.any(missed) and all(m.shape == (150, 210) and m.dtype == np.bool_ for m in missed)


def test_a_box_is_clipped_to_the_picture_and_a_point_off_it_left_out() -> None:
    wide, points = Prompt(Box(-20, 10, 50, 700, FRAME)), Prompt(points=Points((30, 20), (215, 20), FRAME))
    clipped, lone = Prompt(Box(0, 10, 50, 150, FRAME)), Prompt(points=Points((30, 20), (-1, -1), FRAME))
    for one, other in ((wide, clipped), (points, lone)):
        np.testing.assert_array_equal(logits([one])[0], logits([other])[0])


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1, 3), (64, 33)])
def test_masks_are_of_the_pictures_own_size(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    own = Frame(shape[1], shape[0])
    (mask,) = SAM2.segment(SAM2.embed(image), [Prompt(Box(0, 0, own.width, own.height, own))])
    assert mask.shape == shape[:2] and mask.dtype == np.bool_


def test_a_grey_picture_is_one_of_three_equal_colours() -> None:
    grey = picture()[..., 0]
    one, other = SAM2.embed(grey), SAM2.embed(np.stack([grey] * 3, axis=-1))
    assert torch.equal(one.features.coarse, other.features.coarse)


def test_nothing_asked_is_nothing_found() -> None:
    assert SAM2.segment(EMBEDDING, []) == []
    assert SAM2.embed_many([]) == []


def test_a_wrong_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes a uint8 image.*got float64 of shape \(8, 8\)"):
        SAM2.embed(np.zeros((8, 8)))  # type: ignore[arg-type]


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_pictures_of_any_sizes_embedded_together_are_as_one_by_one(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam2, "_PICTURES_AT_ONCE", at_once)
    pictures = [picture(), video_frame(2)[0], picture()[:40, :, 0]]
    for one, found in zip(map(SAM2.embed, pictures), SAM2.embed_many(pictures), strict=True):
        assert one.frame == found.frame
        for part in ("fine", "middle", "coarse"):
            expected = getattr(one.features, part)
            torch.testing.assert_close(getattr(found.features, part), expected, atol=2e-4, rtol=1e-4)


def test_a_kept_embedding_does_not_hold_those_it_was_computed_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sam2, "_PICTURES_AT_ONCE", 2)
    fine = SAM2.embed_many([picture(), picture()])[0].features.fine
    assert fine.untyped_storage().nbytes() == fine.numel() * 4


def test_an_embedding_kept_on_disk_gives_the_same_masks(tmp_path: Path) -> None:
    prompts = [asked("both", FRAME)]
    assert isinstance(SAM2, Storable)
    first = SAM2.segment(Embeddings(SAM2, tmp_path).of(picture()), prompts)
    later = Embeddings(SAM2, tmp_path)

    found = SAM2.segment(later.of(picture()), prompts)

    assert later.computed == 0
    np.testing.assert_array_equal(found, first)


def test_the_digest_and_the_name_tell_the_size_of_the_input() -> None:
    made = Sam2Segmenter(model(memory=False), {"variant": "small"})
    assert made.digest == SAM2.digest != Sam2Segmenter(model(memory=False), {"variant": "other"}).digest
    assert made.name == "sam2 small 128" and made.identity["image_size"] == 128


def test_asking_leaves_torch_as_it_was() -> None:
    for _ in SAM2.logits(EMBEDDING, [asked("both", FRAME)] * 2):
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


@pytest.mark.parametrize("device", ["nowhere", "cuda:999"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use the device '{device}'"):
        Sam2Segmenter(SAM2.model, {"variant": "small"}, device)


def test_half_precision_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    half: Any = images()
    assert not half.half
    # What a GPU would do; how its digest differs, too: kept embeddings of one are not the other's.
    monkeypatch.setattr(half, "half", True)

    found, full = half.embed(picture()).features.coarse, EMBEDDING.features.coarse

    assert found.dtype == torch.float32 and half.digest != SAM2.digest
    assert 0 < (found - full).abs().max() < 0.1 * full.abs().max()


def test_the_decoder_gives_one_mask_a_prompt() -> None:
    ((members, found),) = SAM2.decoded(EMBEDDING, [asked("box", FRAME)] * 3)
    assert isinstance(found, Decoded) and members == [0, 1, 2]
    assert found.logits.shape == (3, 1, 32, 32) and found.quality.shape == (3, 1)
    assert ((found.quality >= 0) & (found.quality <= 1)).all()
