"""The fusion network: two engines' logits and what is around the prompt in, one mask's logits out.

A small U-Net (Ronneberger et al., 2015) of about 170,000 weights. For each place it says how far to trust either
engine's logit, and what to add. That is smooth, where the engines are sharp: so it is computed on a coarse square, and
the sum at the image's own resolution, in which thin structures survive.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.segmenters.fusion_view import CLASSICAL, CLASSICAL_SCALE, LEARNED, LEARNED_SCALE, PLANES

_WIDTHS = (16, 24, 40, 64)


class FusionNet(nn.Module):
    """Planes ``(n, len(PLANES), h, w)`` to logits ``(n, h, w)``; h and w are multiples of 8."""

    def __init__(self) -> None:
        super().__init__()
        a, b, c, d = _WIDTHS
        self.enter = _layer(len(PLANES), a)
        self.down = nn.ModuleList([_pair(a, b), _pair(b, c), _pair(c, d)])
        self.look = nn.Sequential(nn.Linear(d, d), nn.SiLU(), nn.Linear(d, d))
        self.up = nn.ModuleList([_pair(d + c, c), _pair(c + b, b), _layer(b + a, a)])
        self.leave = nn.Conv2d(a, 3, 1)

    def forward(self, planes: Tensor) -> Tensor:
        """Logits of being target, at the planes' own resolution."""
        own, learned, classical = self.weigh(planes).unbind(1)
        return own + learned * planes[:, LEARNED] * LEARNED_SCALE + classical * planes[:, CLASSICAL] * CLASSICAL_SCALE

    def weigh(self, planes: Tensor) -> Tensor:
        """What to add, and the weights of the learned logit and the classical log-odds: ``(n, 3, h, w)``."""
        x = self.enter(planes)
        kept = []
        for step in self.down:
            kept.append(x)
            x = step(nn.functional.avg_pool2d(x, 2))
        # What the whole window looks like scales every channel.
        x = x * torch.sigmoid(self.look(x.mean(dim=(2, 3))))[..., None, None]
        for step in self.up:
            x = nn.functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = step(torch.cat([x, kept.pop()], dim=1))
        own, learned, classical = self.leave(x).float().unbind(1)
        return torch.stack([own, 0.8 * torch.sigmoid(learned), 0.8 * torch.sigmoid(classical)], dim=1)


def load(path: Path) -> FusionNet:
    """The network with weights from a safetensors file, ready for inference.

    Raises
    ------
    ConfigError
        If the file cannot be read or does not hold exactly its weights.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    net = FusionNet()
    try:
        state = {name: value.float() if value.is_floating_point() else value for name, value in load_file(path).items()}
        net.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"{path} does not hold the fusion network's weights: {first}") from None
    return net.eval().requires_grad_(False)


def _layer(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inward, outward, 3, padding=1, bias=False), nn.BatchNorm2d(outward), nn.SiLU(inplace=True)
    )


def _pair(inward: int, outward: int) -> nn.Sequential:
    return nn.Sequential(*_layer(inward, outward), *_layer(outward, outward))
