"""The SAM-Med2D engine gives what the original gives: by its description, and by numbers that it left."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from medreasoner_monai.errors import InputError
from medreasoner_monai.evaluation.embeddings import Embeddings, Storable
from medreasoner_monai.segmenters.protocol import Prompt, PromptKind
from medreasoner_monai.segmenters.sam_med2d import SamMed2dSegmenter
from medreasoner_monai.segmenters.sam_med2d_model import Adapter, build
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.segmenters.sams import OriginalMed2d, med2d, picture, prompt, segmenter

REFERENCE = Path(__file__).parents[3] / "shared/reference/sam_med2d/reference.npz"
MED2D = med2d()
KINDS = get_args(PromptKind)
FRAME = Frame(90, 60)


def adapter_by_hand(adapter: Adapter, x: np.ndarray) -> np.ndarray:
    """An adapter's formula in plain loops, on tokens ``(h, w, c)``, in double precision."""
    weights = {name: value.double().numpy() for name, value in adapter.state_dict().items()}
    h, w, _ = x.shape
    squeezed = np.maximum(weights["channel.0.weight"] @ x.mean(axis=(0, 1)), 0)
    gated = x / (1 + np.exp(-(weights["channel.2.weight"] @ squeezed)))
    half = np.zeros((h // 2, w // 2, x.shape[2]))
    for i, j in np.ndindex(h // 2, w // 2):
        for a, b in np.ndindex(3, 3):
            row, col = 2 * i + a - 1, 2 * j + b - 1
            if 0 <= row < h and 0 <= col < w:
                half[i, j] += weights["spatial.0.weight"][:, :, a, b] @ gated[row, col]
    half = np.maximum(half, 0)
    whole = np.zeros_like(x)
    for i, j in np.ndindex(h // 2, w // 2):
        for a, b in np.ndindex(4, 4):
            row, col = 2 * i + a - 1, 2 * j + b - 1
            if 0 <= row < h and 0 <= col < w:
                whole[row, col] += half[i, j] @ weights["spatial.2.weight"][:, :, a, b]
    added = x + np.maximum(whole, 0)
    centred = added - added.mean(axis=2, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(axis=2, keepdims=True) + 1e-5)
    return normal * weights["norm.weight"] + weights["norm.bias"]


def test_the_adapter_is_its_formula_worked_out_by_hand() -> None:
    torch.manual_seed(0)
    adapter = Adapter(8)
    for weight in adapter.parameters():
        torch.nn.init.normal_(weight, std=0.5)
    x = torch.randn(2, 6, 4, 8)

    with torch.inference_mode():
        found = adapter(x).numpy()

    for one, tokens in zip(found, x.double().numpy(), strict=True):
        np.testing.assert_allclose(one, adapter_by_hand(adapter, tokens), atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(128, 128), (97, 61), (50, 171, 3), (300, 211, 3), (5, 80), (1, 1)])
def test_logits_and_masks_are_those_of_the_description(shape: tuple[int, ...], kind: PromptKind) -> None:
    image = picture(*shape)
    asked = prompt(Frame(shape[1], shape[0])).only(kind)
    if shape == (1, 1) and kind != "points":
        asked = Prompt(Box(0, 0, 1, 1, Frame(1, 1)), asked.points)  # a box is never less than a pixel
    expected = OriginalMed2d(MED2D.model, image).logits(asked)
    embedding = MED2D.embed(image)

    ((_, logits),) = MED2D.logits(embedding, [asked])
    (mask,) = MED2D.segment(embedding, [asked])

    np.testing.assert_allclose(logits, expected, atol=1e-4)
    sure = np.abs(expected) > 1e-4
    assert mask.dtype == np.bool_ and sure.mean() > 0.9
    np.testing.assert_array_equal(mask[sure], expected[sure] > 0)


def test_prompts_of_all_kinds_come_back_in_order() -> None:
    image = picture(60, 90)
    original = OriginalMed2d(MED2D.model, image)
    shifted = Prompt(Box(3, 4, 30, 50, FRAME), Points((5, 6), (20, 30), FRAME))
    asked = [p.only(kind) for p in (prompt(FRAME), shifted) for kind in KINDS]

    found = dict(MED2D.logits(MED2D.embed(image), asked))

    for i, one in enumerate(asked):
        np.testing.assert_allclose(found[i], original.logits(one), atol=1e-4)


def test_several_images_of_any_size_are_encoded_as_each_by_itself() -> None:
    images = [picture(60, 90), picture(97, 61, 3), picture(5, 80)]
    for image, found in zip(images, MED2D.embed_many(images), strict=True):
        alone = MED2D.embed(image)
        assert found.frame == alone.frame
        torch.testing.assert_close(found.features, alone.features, atol=1e-5, rtol=1e-5)


def test_a_prompt_off_the_picture_gives_an_empty_mask() -> None:
    off = [Prompt(Box(100, 5, 150, 15, FRAME)), Prompt(points=Points((-5, 5), (9e300, 3), FRAME))]
    masks = MED2D.segment(MED2D.embed(picture(60, 90)), off)
    assert not np.any(masks) and all(m.shape == (60, 90) for m in masks)


def test_a_wrong_image_is_refused() -> None:
    with pytest.raises(InputError, match=r"takes a uint8 image.*got float64 of shape \(8, 8\)"):
        MED2D.embed_many([picture(8, 8), np.zeros((8, 8))])  # type: ignore[list-item]


def test_an_embedding_kept_on_disk_gives_the_same_masks(tmp_path: Path) -> None:
    image, asked = picture(60, 90), [prompt(FRAME)]
    assert isinstance(MED2D, Storable)
    first = MED2D.segment(Embeddings(MED2D, tmp_path).of(image), asked)
    later = Embeddings(MED2D, tmp_path)
    np.testing.assert_array_equal(MED2D.segment(later.of(image), asked), first)
    assert later.computed == 0


def test_the_digest_tells_engines_and_weights_apart() -> None:
    assert med2d(0).digest == MED2D.digest
    assert len({MED2D.digest, med2d(1).digest, SamMed2dSegmenter(MED2D.model, {}).digest, segmenter(0).digest}) == 4


def test_half_precision_is_for_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture(60, 90)
    full = MED2D.embed(image).features
    half = med2d()
    assert not half.half
    monkeypatch.setattr(half, "half", True)  # what a GPU would do

    features = half.embed(image).features

    assert features.dtype == torch.float32 and half.digest != MED2D.digest
    assert 0 < (features - full).abs().max() < 0.05 * full.abs().max()


@pytest.fixture(scope="module")
def made_up() -> SamMed2dSegmenter:
    """The model in its full size, with the weights that the reference's numbers were made with."""
    if not REFERENCE.is_file():
        pytest.skip("the original's numbers are not beside the repository (../shared/reference/sam_med2d)")
    model = build()
    for name, weight in model.state_dict().items():
        values = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(weight.shape)) * 0.02
        offset = float(weight.ndim == 1 and name.endswith("weight"))
        weight.copy_(torch.from_numpy(values.astype(np.float32) + np.float32(offset)))
    return SamMed2dSegmenter(model, {"weights": "made up"})


@pytest.mark.timeout(600)
def test_the_originals_numbers_for_made_up_weights(made_up: SamMed2dSegmenter) -> None:
    y, x = np.mgrid[:300, :420]
    squares = np.where((x // 20 + y // 20) % 2 == 1, 255, 0)
    image = np.stack([x * 255 // 419, y * 255 // 299, squares], axis=-1).astype(np.uint8)
    frame = Frame(420, 300)
    asked = Prompt(Box(100, 80, 300, 250, frame), Points((150, 120), (240, 200), frame))
    expected = np.load(REFERENCE)

    embedding = made_up.embed(image)

    np.testing.assert_allclose(embedding.features[::32, ::4, ::4], expected["embedding"], atol=1e-4)
    for kind in KINDS:
        ((_, logits),) = made_up.logits(embedding, [asked.only(kind)])
        ((_, low, iou),) = made_up.coarse(embedding, [asked.only(kind)])
        # The made-up weights give logits of 0.02 at most and IoUs of 0.005: a tolerance that sees a wrong one.
        np.testing.assert_allclose(logits[::10, ::10], expected[f"{kind}_logits"], atol=1e-6)
        np.testing.assert_allclose(low[0, ::8, ::8], expected[f"{kind}_low"], atol=1e-6)
        np.testing.assert_allclose(iou, expected[f"{kind}_iou"], atol=1e-6)
