"""The layers in another order of work give what they give in their own."""

from __future__ import annotations

import pytest
import torch

from medreasoner_monai.segmenters import sam_layers
from medreasoner_monai.segmenters.sam_weights import untrained
from tests.segmenters.sams import SIDE, small_sam


@pytest.mark.parametrize("relative", [True, False], ids=["relative-positions", "without"])
@pytest.mark.parametrize("rows", [1, 3, 8])
def test_features_are_the_encoders_own_in_pieces_of_any_size(
    rows: int, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = untrained(lambda: small_sam(relative=relative), 0).image_encoder
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sam_layers, "_ROWS", rows)
    monkeypatch.setattr(sam_layers, "_PIECE", rows * 2 * 8 * 8 * 8)  # values: two heads, 8 x 8 tokens, 8 in a row

    with torch.inference_mode():
        found, expected = sam_layers.encode(encoder, pixels), encoder(pixels)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("images", [2, 3])
def test_features_of_several_images_are_the_encoders_own(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = untrained(small_sam, 0).image_encoder
    pixels = torch.randn(images, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(sam_layers, "_PIECE", images * 2 * 8 * 8 * 8 * 3)  # three rows of attention weights at a time

    with torch.inference_mode():
        found, expected = sam_layers.encode(encoder, pixels), encoder(pixels)

    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("best_of_three", [False, True], ids=["single-mask", "best-of-three"])
def test_coarse_logits_and_expected_iou_are_the_decoders_own(best_of_three: bool) -> None:
    model = untrained(small_sam, 0)
    torch.manual_seed(0)
    features, tokens = torch.randn(1, 32, 8, 8), 20 * torch.randn(9, 3, 32)
    # As it is untrained, one of the three masks would be thought best whatever the prompt.
    torch.nn.init.zeros_(model.mask_decoder.iou_prediction_head.layers[-1].bias)
    with torch.inference_mode():
        positions = model.prompt_encoder.get_dense_pe()
        dense = model.prompt_encoder.no_mask_embed.weight[..., None, None].expand(9, -1, 8, 8)

        found, quality = sam_layers.decode(model, features, positions, tokens, best_of_three)
        masks, ious = model.mask_decoder(features, positions, tokens, dense, multimask_output=best_of_three)

    best = ious.argmax(dim=1)
    assert len(set(best.tolist())) > 1 or not best_of_three  # not all of them the same one of the three
    torch.testing.assert_close(found, masks[torch.arange(9), best], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(quality, ious.max(dim=1).values, atol=1e-5, rtol=1e-5)
