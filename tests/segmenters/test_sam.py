"""The SAM engine gives what the package's own predictor gives, for a small model with untrained weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.evaluation.embeddings import Embeddings, Storable
from medreasoner_monai.segmenters import sam
from medreasoner_monai.segmenters.protocol import Prompt, PromptKind
from medreasoner_monai.segmenters.sam import SamSegmenter
from medreasoner_monai.task.geometry import Box, Frame, Points, convert
from tests.segmenters.sams import Original, picture, prompt, segmenter, small_sam

SAM = segmenter()
KINDS = get_args(PromptKind)
FRAME = Frame(90, 60)


@contextmanager
def decoder_calls() -> Iterator[list[int]]:
    """How many prompts each call of the decoder had."""
    calls: list[int] = []
    hook = SAM.model.mask_decoder.transformer.register_forward_hook(lambda _, given, __: calls.append(len(given[2])))
    yield calls
    hook.remove()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(128, 128), (97, 61), (50, 171, 3), (300, 211, 3), (5, 80), (19, 2, 3)])
def test_logits_and_masks_are_those_of_the_original_predictor(shape: tuple[int, ...], kind: PromptKind) -> None:
    image = picture(*shape)
    asked = prompt(Frame(shape[1], shape[0])).only(kind)
    expected = Original(SAM.model, image).logits(asked)
    embedding = SAM.embed(image)

    ((_, logits),) = SAM.logits(embedding, [asked])
    (mask,) = SAM.segment(embedding, [asked])

    np.testing.assert_allclose(logits, expected, atol=1e-4)
    sure = np.abs(expected) > 1e-4
    assert mask.dtype == np.bool_ and sure.mean() > 0.9
    np.testing.assert_array_equal(mask[sure], expected[sure] > 0)


def test_several_images_of_any_size_are_encoded_in_one_go_and_as_each_by_itself() -> None:
    images = [picture(60, 90), picture(97, 61, 3), picture(128, 128), picture(5, 80)]
    calls: list[int] = []
    hook = SAM.model.image_encoder.neck.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    together = SAM.embed_many(images)
    hook.remove()

    assert calls == [4]
    for image, found in zip(images, together, strict=True):
        alone = SAM.embed(image)
        assert found.frame == alone.frame == Frame(image.shape[1], image.shape[0])
        torch.testing.assert_close(found.features, alone.features, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({"_IMAGES": 2}, [2, 2, 1]), ({"_TOKENS_ON_CPU": 3 * 64 + 5}, [3, 2]), ({"_TOKENS_ON_CPU": 1}, [1] * 5)],
    ids=["by-number", "by-tokens", "at-least-one"],
)
def test_many_images_are_encoded_a_few_at_a_time(
    limits: dict[str, int], expected: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [picture(20 + n, 30) for n in range(5)]
    for name, value in limits.items():
        monkeypatch.setattr(sam, name, value)  # a picture has 8 x 8 tokens
    calls: list[int] = []
    hook = SAM.model.image_encoder.neck.register_forward_hook(lambda _, given, __: calls.append(len(given[0])))
    found = SAM.embed_many(images)
    hook.remove()
    assert calls == expected and [e.frame.height for e in found] == [20, 21, 22, 23, 24]
    assert SAM.embed_many([]) == []


def test_a_kept_embedding_does_not_hold_the_memory_of_its_batch() -> None:
    one, _ = SAM.embed_many([picture(20, 30), picture(30, 20)])
    assert one.features.untyped_storage().nbytes() == one.features.nbytes


def test_prompts_of_all_kinds_come_back_in_order_after_one_decoder_call_a_kind() -> None:
    image = picture(60, 90)
    original = Original(SAM.model, image)
    shifted = Prompt(Box(3, 4, 30, 50, FRAME), Points((5, 6), (20, 30), FRAME))
    asked = [p.only(kind) for p in (prompt(FRAME), shifted) for kind in KINDS]
    embedding = SAM.embed(image)

    with decoder_calls() as calls:
        found = dict(SAM.logits(embedding, asked))

    assert calls == [2, 2, 2]
    for i, one in enumerate(asked):
        np.testing.assert_allclose(found[i], original.logits(one), atol=1e-4)


def test_many_prompts_are_decoded_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    embedding = SAM.embed(picture(60, 90))
    asked = [Prompt(Box(x, 10, x + 30, 40, FRAME)) for x in range(5)]
    at_once = SAM.segment(embedding, asked)
    monkeypatch.setattr(sam, "_AT_ONCE", 2)

    with decoder_calls() as calls:
        found = SAM.segment(embedding, asked)

    assert calls == [2, 2, 1]
    np.testing.assert_array_equal(found, at_once)


def test_prompts_may_be_counted_in_another_frame() -> None:
    embedding = SAM.embed(picture(60, 90))
    asked, model = prompt(FRAME), Frame(252, 448, "model")
    assert asked.box and asked.points
    moved = Prompt(convert(asked.box, model), convert(asked.points, model))

    (one,), (other,) = (dict(SAM.logits(embedding, [p])).values() for p in (asked, moved))

    np.testing.assert_allclose(one, other, atol=1e-4)


def test_a_prompt_off_the_picture_gives_an_empty_mask_and_is_not_decoded() -> None:
    off = [Prompt(Box(100, 5, 150, 15, FRAME)), Prompt(points=Points((-5, 5), (9e300, 3), FRAME))]
    # Points alone say nothing where the box misses the picture.
    off.append(Prompt(off[0].box, Points((10, 10), (20, 20), FRAME)))
    with decoder_calls() as calls:
        *missed, hit = SAM.segment(SAM.embed(picture(60, 90)), [*off, prompt(FRAME)])
    assert calls == [1] and hit.any()
    assert not np.any(missed) and all(m.shape == (60, 90) for m in missed)


def test_a_box_is_clipped_to_the_picture_and_a_point_off_it_left_out() -> None:
    image = picture(60, 90)
    original = Original(SAM.model, image)
    asked = [Prompt(Box(-20, 10, 50, 700, FRAME)), Prompt(points=Points((30, 20), (95, 20), FRAME))]

    found = dict(SAM.logits(SAM.embed(image), asked))

    np.testing.assert_allclose(found[0], original.logits(Prompt(Box(0, 10, 50, 60, FRAME))), atol=1e-4)
    lone, _, _ = original.predictor.predict(
        np.array([[30, 20]]), np.ones(1), multimask_output=False, return_logits=True
    )
    np.testing.assert_allclose(found[1], lone[0], atol=1e-4)


def test_a_point_outside_the_box_is_seen() -> None:
    image = picture(60, 90)
    asked = Prompt(Box(10, 10, 40, 40, FRAME), Points((20, 20), (80, 50), FRAME))

    ((_, found),) = SAM.logits(SAM.embed(image), [asked])

    np.testing.assert_allclose(found, Original(SAM.model, image).logits(asked), atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (900, 1, 3)])
def test_pictures_too_thin_for_the_original_still_have_masks(shape: tuple[int, ...]) -> None:
    (mask,) = SAM.segment(SAM.embed(picture(*shape)), [prompt(Frame(shape[1], shape[0]))])
    assert mask.shape == shape[:2]


def test_nothing_asked_is_nothing_found() -> None:
    assert SAM.segment(SAM.embed(picture(60, 90)), []) == []


def test_a_wrong_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes a uint8 image.*got float64 of shape \(8, 8\)"):
        SAM.embed(np.zeros((8, 8)))  # type: ignore[arg-type]


def test_an_embedding_kept_on_disk_gives_the_same_masks(tmp_path: Path) -> None:
    image, asked = picture(60, 90), [prompt(FRAME)]
    assert isinstance(SAM, Storable)
    first = SAM.segment(Embeddings(SAM, tmp_path).of(image), asked)
    later = Embeddings(SAM, tmp_path)

    found = SAM.segment(later.of(image), asked)

    assert later.computed == 0
    np.testing.assert_array_equal(found, first)


def test_the_digest_tells_weights_apart() -> None:
    assert segmenter(0).digest == SAM.digest != segmenter(1).digest
    assert len(SAM.digest) == 64


def test_reading_masks_leaves_torch_as_it_was() -> None:
    for _ in SAM.logits(SAM.embed(picture(60, 90)), [prompt(FRAME), prompt(FRAME)]):
        assert not torch.is_inference_mode_enabled() and torch.is_grad_enabled()


@pytest.mark.parametrize("device", ["nowhere", "cuda:999"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ConfigError, match=f"cannot use the device '{device}'"):
        SamSegmenter(small_sam(), {}, device)


def test_half_precision_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(60, 90)
    full = SAM.embed(image).features
    half: Any = segmenter()
    assert not half.half
    # What a GPU would do; how its digest differs, too: kept embeddings of one are not the other's.
    monkeypatch.setattr(half, "half", True)

    features = half.embed(image).features

    assert features.dtype == torch.float32 and half.digest != SAM.digest
    assert 0 < (features - full).abs().max() < 0.05 * full.abs().max()
    _, together = half.embed_many([picture(30, 30), image])
    assert (together.features - features).abs().max() < 0.01 * full.abs().max()
