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


def test_coarse_logits_are_the_decoders_own() -> None:
    model = untrained(small_sam, 0)
    torch.manual_seed(0)
    features, tokens = torch.randn(1, 32, 8, 8), torch.randn(4, 3, 32)
    with torch.inference_mode():
        positions = model.prompt_encoder.get_dense_pe()
        dense = model.prompt_encoder.no_mask_embed.weight[..., None, None].expand(4, -1, 8, 8)

        found = sam_layers.decode(model, features, positions, tokens)
        expected, _ = model.mask_decoder(features, positions, tokens, dense, multimask_output=False)

    torch.testing.assert_close(found, expected[:, 0], atol=1e-5, rtol=1e-5)
