"""Sizes of the starter model."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class StarterSettings(BaseModel):
    """Sizes of the starter model."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    hidden_size: int = 128
    layers: int = 4
    heads: int = 4
    vision_hidden_size: int = 96
    vision_layers: int = 3
    vision_heads: int = 4
    patch_size: int = 14
    image_pixels: int = Field(default=112 * 112, description="the processor resizes to at most this many pixels")
    vocabulary: int = 1400
    initial_std: float = Field(0.05, gt=0, description="of the weights; larger than a large model's, learns faster")
    seed: int = 0
