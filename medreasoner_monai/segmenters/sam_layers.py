"""SAM's forward pass through the layers of a ``segment_anything`` model, with less time and memory than its own.

The layers and their weights are the package's; results differ from its own by rounding alone. What differs is the order
of the work. The image encoder goes through the picture some rows at a time: a layer's attention weights over the whole
of it would be 800 MB, and much of the time would go into making room for them. Several images may go through it
together. A block may have an adapter (SAM-Med2D), whose result is added to the MLP's. The decoder shares what the
prompts of one kind have in common, keeps values in the order in which the layers read them, and makes one mask a
prompt, not four.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Attention weights that are held at once, counted in values. On a CPU what is held should fit its caches; a GPU wants
# large pieces.
_PIECE, _PIECE_ON_GPU = 2**21, 2**26
# Rows of tokens, of all images together, that go through a block's last two layers at once.
_ROWS = 8


def encode(encoder: Any, pixels: Tensor) -> Tensor:
    """Images' features.

    Parameters
    ----------
    encoder:
        An ``ImageEncoderViT``, whose blocks may have an ``Adapter``.
    pixels:
        Normalised and padded, ``(n, 3, side, side)``.

    Returns
    -------
    ``(n, channels, side / patch, side / patch)``.
    """
    x: Tensor = encoder.patch_embed(pixels)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks:
        x = _block(block, x)
    features: Tensor = encoder.neck(x.permute(0, 3, 1, 2))
    return features


def _block(block: Any, x: Tensor) -> Tensor:
    """One transformer block on tokens ``(n, h, w, c)``, within windows where the block has them."""
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    seen: Tensor = block.norm1(x)
    if block.window_size > 0:
        windows, padded = window_partition(seen, block.window_size)
        seen = window_unpartition(_attention(block.attn, windows), block.window_size, padded, x.shape[1:3])
    else:
        seen = _attention(block.attn, seen)
    x = x + seen
    adapter = getattr(block, "Adapter", None)
    if adapter is not None:  # it looks at the whole picture, and pictures that it is made for are small
        seen = block.norm2(x)
        return x + block.mlp(seen) + adapter(seen)
    rows = max(1, _ROWS // len(x))
    for top in range(0, x.shape[1], rows):
        part = x[:, top : top + rows]
        part += block.mlp(block.norm2(part))
    return x


def _attention(attn: Any, x: Tensor) -> Tensor:
    """Self-attention within each of ``n`` windows, ``(n, h, w, c)``."""
    n, h, w, c = x.shape
    q, k, v = attn.qkv(x).reshape(n, h * w, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
    if attn.use_rel_pos:
        out = _placed(attn, q, k, v, (h, w))
    else:
        out = F.scaled_dot_product_attention(q, k, v, scale=attn.scale)
    joined: Tensor = attn.proj(out.transpose(1, 2).reshape(n, h, w, c))
    return joined


def _placed(attn: Any, q: Tensor, k: Tensor, v: Tensor, size: tuple[int, int]) -> Tensor:
    """What queries ``(n, heads, h * w, c)`` get from keys and values when their relative places count, as many."""
    from segment_anything.modeling.image_encoder import get_rel_pos

    (n, heads, _, _), (h, w) = q.shape, size
    grid = q.reshape(n, heads, h, w, -1)
    # What a query adds for each row, and for each column, of the keys.
    rows = torch.einsum("nahwc,hkc->nahwk", grid, get_rel_pos(h, h, attn.rel_pos_h))[..., None]
    cols = torch.einsum("nahwc,wkc->nahwk", grid, get_rel_pos(w, w, attn.rel_pos_w))[..., None, :]
    out = torch.empty_like(q)
    piece = _PIECE if q.device.type == "cpu" else _PIECE_ON_GPU
    row = heads * w * h * w
    group = min(n, max(1, piece // row))
    step = min(h, max(1, piece // (group * row)))
    # Used again for each piece: fresh memory costs more than what is written into it.
    held = q.new_empty(group, heads, step, w, h, w)
    for first, top in itertools.product(range(0, n, group), range(0, h, step)):
        some, near, part = slice(first, first + group), slice(top, top + step), slice(top * w, (top + step) * w)
        bias = torch.add(rows[some, :, near], cols[some, :, near], out=held[: n - first, :, : h - top])
        bias = bias.flatten(4).flatten(2, 3)
        seen = F.scaled_dot_product_attention(q[some, :, part], k[some], v[some], attn_mask=bias, scale=attn.scale)
        out[some, :, part] = seen
    return out


def decode(
    model: Any, features: Tensor, positions: Tensor, prompts: Tensor, best_of_three: bool = False
) -> tuple[Tensor, Tensor]:
    """Logits of one mask a prompt, at the decoder's own resolution, and the IoU that it expects of it.

    Parameters
    ----------
    model:
        A ``Sam``.
    features:
        Of one image, ``(1, channels, h, w)``.
    positions:
        The prompt encoder's dense positional encoding, ``(1, channels, h, w)``.
    prompts:
        Embedded prompts, ``(n, tokens, channels)``.
    best_of_three:
        Take the one of highest expected IoU among the masks of an ambiguous prompt, not the single mask.

    Returns
    -------
    ``(n, 4 h, 4 w)`` and ``(n,)``.
    """
    decoder = model.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
    # The picture stays a batch of one, against which the layers hold every prompt; and its channels lie side by side,
    # as the layers read them.
    picture = features + model.prompt_encoder.no_mask_embed.weight[..., None, None]
    picture, positions = (t.contiguous(memory_format=torch.channels_last) for t in (picture, positions))
    states, seen = decoder.transformer(picture, positions, tokens)
    # States: that of the quality estimate, that of the single mask, those of the three masks of an ambiguous prompt.
    quality = decoder.iou_prediction_head(states[:, 0])
    offered = range(1, decoder.num_mask_tokens) if best_of_three else range(1)
    quality, taken = quality[:, offered.start : offered.stop].max(dim=1)
    kernels = torch.stack([decoder.output_hypernetworks_mlps[i](states[:, 1 + i]) for i in offered], dim=1)
    kernel = kernels[torch.arange(len(kernels), device=taken.device), taken]
    return _mask(decoder.output_upscaling, seen.reshape(len(seen), *picture.shape[-2:], -1), kernel), quality


def _mask(upscaling: Any, seen: Tensor, kernel: Tensor) -> Tensor:
    """Logits ``(n, 4 h, 4 w)`` from the decoded picture ``(n, h, w, c)`` and the last layer's weights ``(n, k)``.

    Both transposed convolutions make 2 x 2 pixels of one, on its own. So they are matrix products, and the pixels need
    not be put in their places before there is but one value for each.
    """
    first, norm, act, second, last_act = upscaling
    x = F.layer_norm(_fourfold(first, seen), (first.out_channels,), norm.weight, norm.bias, norm.eps)
    x = last_act(_fourfold(second, act(x)))
    logits = (x.flatten(1, -2) @ kernel[..., None]).reshape(x.shape[:-1])  # (n, h, w, 2, 2, 2, 2)
    return logits.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(1, 3)


def _fourfold(layer: Any, x: Tensor) -> Tensor:
    """A transposed convolution of kernel and stride 2, ``(…, in)`` to ``(…, 2, 2, out)``."""
    weight = layer.weight.permute(2, 3, 1, 0)
    return F.linear(x, weight.flatten(0, 2), layer.bias.repeat(4)).reshape(*x.shape[:-1], *weight.shape[:3])
