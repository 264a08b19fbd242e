"""SAM-Med2D's network: SAM ViT-B for pictures of 256 pixels, with an adapter beside the MLP of every encoder block.

The blocks, the prompt encoder and the mask decoder are those of ``segment_anything``; the adapter hangs in them under
the name that the published weights know it by, and ``sam_layers`` calls it. Source: Cheng et al., SAM-Med2D
(arXiv:2308.16184), section 3, and the layout of the published weights.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

SIDE = 256
"""Pixels in width and height of what the encoder sees."""


class Adapter(nn.Module):
    """Channels weighed by a gate, then a look at the neighbourhood, added to what came in and normalised.

    Parameters
    ----------
    width:
        Channels of a token.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = width // 4
        self.norm = nn.LayerNorm(width)
        self.channel = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, width, bias=False), nn.Sigmoid()
        )
        self.spatial = nn.Sequential(
            nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False),
            nn.ReLU(),
            nn.ConvTranspose2d(width, width, 4, stride=2, padding=1, bias=False),
            nn.ReLU(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Tokens ``(n, h, w, channels)``, h and w even, to as many."""
        gated = x * self.channel(x.mean(dim=(1, 2)))[:, None, None]
        near: Tensor = self.spatial(gated.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = self.norm(x + near)
        return out


def with_adapters(sam: Any) -> Any:
    """A ``segment_anything`` ``Sam`` whose encoder blocks have got an adapter each; the same object."""
    for block in sam.image_encoder.blocks:
        block.Adapter = Adapter(block.norm2.normalized_shape[0])
    return sam


def build() -> Any:
    """A ``segment_anything`` ``Sam`` of SAM-Med2D's shape, with weights that nothing decides yet."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    encoder = ImageEncoderViT(
        img_size=SIDE,
        patch_size=16,
        embed_dim=768,
        depth=12,
        num_heads=12,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        out_chans=256,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=(2, 5, 8, 11),
    )
    grid = (SIDE // 16, SIDE // 16)
    prompts = PromptEncoder(embed_dim=256, image_embedding_size=grid, input_image_size=(SIDE, SIDE), mask_in_chans=16)
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, num_heads=8, mlp_dim=2048)
    # The means and deviations are the class's own: those of ImageNet, in grey levels.
    return with_adapters(Sam(encoder, prompts, MaskDecoder(transformer_dim=256, transformer=transformer)))


def resized_to(model: Any, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Weights whose position encodings are of another picture size, brought to the model's; and the names of these.

    As the original does it: the absolute encoding bilinearly, and where that was needed, the relative ones of blocks
    without windows linearly. Where the absolute one fits, nothing is touched.
    """
    place = "image_encoder.pos_embed"
    own, given = model.image_encoder.pos_embed, state.get(place)
    if own is None or given is None or given.shape == own.shape or given.ndim != 4 or given.shape[-1] != own.shape[-1]:
        return state, []
    interpolate = partial(nn.functional.interpolate, align_corners=False)
    moved = interpolate(given.float().permute(0, 3, 1, 2), size=own.shape[1:3], mode="bilinear").permute(0, 2, 3, 1)
    changed = {place: moved}
    for number, block in enumerate(model.image_encoder.blocks):
        for axis in "hw":
            name = f"image_encoder.blocks.{number}.attn.rel_pos_{axis}"
            wanted, found = getattr(block.attn, f"rel_pos_{axis}", None), state.get(name)
            if block.window_size or wanted is None or found is None or found.ndim != 2 or found.shape == wanted.shape:
                continue
            changed[name] = interpolate(found.float().T[None], size=len(wanted), mode="linear")[0].T
    return {**state, **changed}, list(changed)
