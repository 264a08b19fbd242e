"""The forward pass of LiteMedSAM's image encoder (TinyViT) through the package's layers, with less time and memory.

The layers and their weights are the package's, with each batch normalisation folded into the convolution before it;
results differ from its own by rounding alone. What differs is the order of the work: the first layers hold 256 channels
of all 65,536 pixels, 67 MB at a time and image, so they go through the picture some rows at a time; and attention is
computed without its weights being written down.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Rows that go through a convolutional block at once; they are even, so that strides of two start where they should.
_ROWS = 8


def encode(encoder: Any, pixels: Tensor) -> Tensor:
    """Images' features.

    Parameters
    ----------
    encoder:
        A ``TinyViT`` whose batch normalisations were folded.
    pixels:
        In [0, 1] and padded, ``(n, 3, 256, 256)``.

    Returns
    -------
    ``(n, 256, 64, 64)``.
    """
    x: Tensor = encoder.patch_embed(pixels)
    first, *others = encoder.layers
    for block in first.blocks:
        x = _by_rows(x, lambda part, block=block: _inverted(block, part))
    x = _by_rows(x, lambda part: _merged(first.downsample, part))
    for layer in others:
        for block in layer.blocks:
            x = _attended(block, x)
        if layer.downsample is not None:
            x = _by_rows(x, lambda part, layer=layer: _merged(layer.downsample, part))
    features: Tensor = encoder.neck(x)
    return features


class _Part:
    """Some rows ``(n, c, rows, w)`` with their neighbours above and below, of which the picture's edge has none."""

    def __init__(self, x: Tensor, top: int, rows: int) -> None:
        self.above, self.below = int(top > 0), int(top + rows < x.shape[2])
        self.x = x[:, :, top - self.above : top + rows + self.below]

    def padded(self, x: Tensor) -> Tensor:
        """Rows of these, with zeros all around where the picture ends."""
        return F.pad(x, (1, 1, 1 - self.above, 1 - self.below))

    def own(self) -> Tensor:
        """Without the neighbours."""
        return self.x[:, :, self.above : self.x.shape[2] - self.below]


def _by_rows(x: Tensor, work: Any) -> Tensor:
    """``work`` done on parts of some rows each, whose results are put together."""
    return torch.cat([work(_Part(x, top, min(_ROWS, x.shape[2] - top))) for top in range(0, x.shape[2], _ROWS)], dim=2)


def _inverted(block: Any, part: _Part) -> Tensor:
    """An inverted bottleneck (``MBConv``)."""
    wide = F.gelu(block.conv1(part.x))
    seen = F.gelu(_depthwise(block.conv2, part.padded(wide)))
    return F.gelu(block.conv3(seen) + part.own())


def _merged(block: Any, part: _Part) -> Tensor:
    """``PatchMerging``: more channels, and half the rows and columns where its stride is two."""
    seen = F.gelu(_depthwise(block.conv2, part.padded(F.gelu(block.conv1(part.x)))))
    merged: Tensor = block.conv3(seen)
    return merged


def _depthwise(conv: Any, x: Tensor) -> Tensor:
    return F.conv2d(x, conv.weight, conv.bias, conv.stride, 0, 1, conv.groups)


def _attended(block: Any, x: Tensor) -> Tensor:
    """A ``TinyViTBlock`` on ``(n, c, h, w)``: attention within windows, a depthwise convolution, an MLP."""
    n, c, h, w = x.shape
    side = block.window_size
    tokens = x.permute(0, 2, 3, 1)
    down, right = -h % side, -w % side
    padded = F.pad(tokens, (0, 0, 0, right, 0, down))
    rows, cols = (h + down) // side, (w + right) // side
    windows = padded.reshape(n, rows, side, cols, side, c).transpose(2, 3).reshape(-1, side * side, c)
    seen = _attention(block.attn, windows).reshape(n, rows, cols, side, side, c).transpose(2, 3)
    tokens = tokens + seen.reshape(n, h + down, w + right, c)[:, :h, :w]
    tokens = block.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    mlp = block.mlp
    tokens = tokens + mlp.fc2(F.gelu(mlp.fc1(mlp.norm(tokens))))
    return tokens.permute(0, 3, 1, 2)


def _attention(attn: Any, x: Tensor) -> Tensor:
    """Self-attention within windows ``(n, tokens, c)``, with a learned bias by relative place."""
    n, tokens, _ = x.shape
    q, k, v = (
        part.transpose(1, 2)
        for part in attn.qkv(attn.norm(x))
        .reshape(n, tokens, attn.num_heads, -1)
        .split([attn.key_dim, attn.key_dim, attn.d], dim=3)
    )
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=attn.ab[None].to(q.dtype), scale=attn.scale)
    joined: Tensor = attn.proj(out.transpose(1, 2).reshape(n, tokens, -1))
    return joined
