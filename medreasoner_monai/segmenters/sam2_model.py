"""SAM 2's models as transformers has them, by shape, and what their tensors are called in the original."""

from __future__ import annotations

from typing import Any, Literal

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.segmenters.sam2_names import STRIDE, Shape, original_name

Release = Literal["2.0", "2.1"]

# One tensor in transformers, several in the original: what marks points and corners.
STACKED = "prompt_encoder.point_embed.weight"


def build(shape: Shape, side: int, release: Release = "2.1", memory: bool = True) -> Any:
    """The model of a shape for pictures of ``side`` pixels, as transformers has it; it is yet to be filled."""
    import torch
    from transformers.initialization import no_init_weights

    # What is in the weights meanwhile is nobody's; the large model would take seconds to draw it.
    with torch.random.fork_rng(devices=[]), no_init_weights():
        return _model(shape, side, release, memory).eval()


def _model(shape: Shape, side: int, release: Release, memory: bool) -> Any:
    from transformers import (
        Sam2Config,
        Sam2HieraDetConfig,
        Sam2Model,
        Sam2VideoConfig,
        Sam2VideoModel,
        Sam2VisionConfig,
    )
    from transformers.models.sam2.configuration_sam2 import Sam2PromptEncoderConfig
    from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoPromptEncoderConfig

    widths = [shape.width * 2**stage for stage in range(4)]
    vision = Sam2VisionConfig(
        backbone_config=Sam2HieraDetConfig(
            image_size=[side, side],
            hidden_size=shape.width,
            num_attention_heads=shape.heads,
            blocks_per_stage=list(shape.blocks),
            embed_dim_per_stage=widths,
            num_attention_heads_per_stage=[shape.heads * 2**stage for stage in range(4)],
            window_size_per_stage=list(shape.windows),
            global_attention_blocks=list(shape.whole),
            window_positional_embedding_background_size=[shape.background, shape.background],
        ),
        backbone_channel_list=widths[::-1],
        backbone_feature_sizes=[[side // stride] * 2 for stride in (4, 8, 16)],
    )
    if not memory:
        prompts = Sam2PromptEncoderConfig(image_size=side)
        return Sam2Model(Sam2Config(vision_config=vision, prompt_encoder_config=prompts))
    config = Sam2VideoConfig(
        vision_config=vision,
        prompt_encoder_config=Sam2VideoPromptEncoderConfig(image_size=side),
        image_size=side,
        memory_attention_rope_feat_sizes=[side // 16, side // 16],
        enable_temporal_pos_encoding_for_object_pointers=release == "2.1",
        enable_occlusion_spatial_embedding=release == "2.1",
    )
    return Sam2VideoModel(config)


def untrained(model: Any, seed: int) -> Any:
    """The model with weights that the seed decides, each of which has an effect."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            if weight.ndim < 2 and name.endswith("bias"):
                weight.zero_()
            elif weight.ndim < 2:
                weight.fill_(1)
            else:
                weight.normal_(std=1 if "positional_embedding" in name else 0.02, generator=generator)
        model.prompt_encoder.shared_embedding.load_state_dict(model.shared_image_embedding.state_dict())
    return model


def check_side(side: int) -> int:
    """The side of the encoder's square in pixels, if it can be one.

    Raises
    ------
    ConfigError
        If it is no multiple of 32.
    """
    if side < STRIDE or side % STRIDE:
        raise ConfigError(f"SAM 2 sees pictures whose side is a multiple of {STRIDE} pixels; `image_size` is {side}")
    return side


def layout(model: Any) -> dict[str, tuple[int, ...]]:
    """The shapes of a model's tensors by the original's names."""
    own = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    count, *rest = own.pop(STACKED)
    return {original_name(name): shape for name, shape in own.items()} | dict.fromkeys(parts(count), (1, *rest))


def parts(count: int) -> list[str]:
    """The original's names of the ``count`` tensors that :data:`STACKED` is made of."""
    return [f"sam_prompt_encoder.point_embeddings.{i}.weight" for i in range(count)]
