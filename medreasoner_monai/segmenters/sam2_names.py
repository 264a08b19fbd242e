"""SAM 2's architectures, and what the original release and transformers call the same tensors.

Facts are those of the original's configurations (``sam2/configs``, version 1.1.0 of its package) and of the two models'
layers. ``tests/segmenters/test_sam2_original.py`` holds every tensor's place against the original's own outputs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# The encoder halves a picture five times, and adds positions to whole windows of its first stage.
STRIDE = 32


@dataclass(frozen=True, slots=True)
class Shape:
    """The image encoder, a Hiera of four stages; all else is the same in every variant.

    Attributes
    ----------
    width, heads:
        Channels and attention heads of the first stage; each further stage has twice as many.
    blocks, windows:
        Of each stage; windows are in tokens.
    whole:
        Numbers of the blocks that attend to the whole picture in place of windows.
    background:
        Side of the stored position encoding, which is enlarged to the picture.
    side:
        Of the square that the encoder sees, in pixels, unless another is asked for.
    """

    width: int
    blocks: tuple[int, int, int, int]
    whole: tuple[int, ...]
    heads: int = 1
    windows: tuple[int, int, int, int] = (8, 4, 14, 7)
    background: int = 7
    side: int = 1024


VARIANTS = {
    "tiny": Shape(96, (1, 2, 7, 2), (5, 7, 9)),
    "small": Shape(96, (1, 2, 11, 2), (7, 10, 13)),
    "base-plus": Shape(112, (2, 3, 16, 3), (12, 16, 20), heads=2, background=14),
    "large": Shape(144, (2, 6, 36, 4), (23, 33, 43), heads=2, windows=(8, 4, 16, 8)),
    "medsam2": Shape(96, (1, 2, 7, 2), (5, 7, 9), side=512),
}

# What SAM 2 has not and SAM 2.1 has: positions in time for object pointers, and a mark on memories without the object.
ONLY_IN_2_1 = ("obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias", "no_obj_embed_spatial")

# What an image needs of the model; the rest is the memory.
_OF_IMAGES = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")

_DEEP = r"output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head|obj_ptr_proj"
# In this order; what follows sees what went before.
_RENAMES: tuple[tuple[str, str], ...] = (
    (r"^shared_image_embedding\.", "prompt_encoder.shared_embedding."),  # the same tensor, twice
    (r"shared_embedding\.positional_embedding$", "pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder\.neck\.convs\.(\d+)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"mask_embed\.conv1\.", "mask_downscaling.0."),
    (r"mask_embed\.layer_norm1\.", "mask_downscaling.1."),
    (r"mask_embed\.conv2\.", "mask_downscaling.3."),
    (r"mask_embed\.layer_norm2\.", "mask_downscaling.4."),
    (r"mask_embed\.conv3\.", "mask_downscaling.6."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"upscale_conv1\.", "output_upscaling.0."),
    (r"upscale_layer_norm\.", "output_upscaling.1."),
    (r"upscale_conv2\.", "output_upscaling.3."),
    (r"mask_downsampler\.layers\.0\.conv\.", "mask_downsampler.encoder.0."),
    (r"mask_downsampler\.layers\.0\.layer_norm\.", "mask_downsampler.encoder.1."),
    (r"mask_downsampler\.layers\.1\.conv\.", "mask_downsampler.encoder.3."),
    (r"mask_downsampler\.layers\.1\.layer_norm\.", "mask_downsampler.encoder.4."),
    (r"mask_downsampler\.layers\.2\.conv\.", "mask_downsampler.encoder.6."),
    (r"mask_downsampler\.layers\.2\.layer_norm\.", "mask_downsampler.encoder.7."),
    (r"mask_downsampler\.layers\.3\.conv\.", "mask_downsampler.encoder.9."),
    (r"mask_downsampler\.layers\.3\.layer_norm\.", "mask_downsampler.encoder.10."),
    (r"mask_downsampler\.final_conv\.", "mask_downsampler.encoder.12."),
    (r"^memory_encoder\.feature_projection\.", "memory_encoder.pix_feat_proj."),
    (r"^memory_encoder\.projection\.", "memory_encoder.out_proj."),
    (r"^memory_encoder\.memory_fuser\.", "memory_encoder.fuser."),
    (r"\.depthwise_conv\.", ".dwconv."),
    (r"\.pointwise_conv", ".pwconv"),
    (r"(fuser\.layers\.\d+)\.scale$", r"\1.gamma"),
    (r"^no_memory_embedding$", "no_mem_embed"),
    (r"^no_memory_positional_encoding$", "no_mem_pos_enc"),
    (r"^memory_temporal_positional_encoding$", "maskmem_tpos_enc"),
    (r"^no_object_pointer$", "no_obj_ptr"),
    (r"^occlusion_spatial_embedding_parameter$", "no_obj_embed_spatial"),
    (r"^object_pointer_proj\.", "obj_ptr_proj."),
    (r"^temporal_positional_encoding_projection_layer\.", "obj_ptr_tpos_proj."),
    (rf"({_DEEP})\.layers\.0\.", r"\1.layers.1."),
    (rf"({_DEEP})\.proj_out\.", r"\1.layers.2."),
    (r"\.proj_out\.", ".layers.1."),
    (r"\.proj_in\.", ".layers.0."),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.layer_norm_final_attn\.", ".norm_final_attn."),
    (r"\.layer_norm(\d?)\.", r".norm\1."),
)


def original_name(name: str) -> str:
    """The original release's name of a tensor that transformers calls ``name``.

    >>> original_name("vision_encoder.backbone.blocks.3.mlp.proj_in.weight")
    'image_encoder.trunk.blocks.3.mlp.layers.0.weight'
    """
    for pattern, replacement in _RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def of_images(name: str) -> bool:
    """Whether an image needs the tensor that the original calls so; if not, it belongs to the memory."""
    return name.startswith(_OF_IMAGES)


def variant_of(shapes: Mapping[str, Any]) -> str:
    """Which variant tensors of these shapes, by the original's names, are of; empty where it cannot be said."""
    patches = shapes.get("image_encoder.trunk.patch_embed.proj.weight")
    found = {int(m[1]) for m in (re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", name) for name in shapes) if m}
    for variant, shape in VARIANTS.items():
        if patches is not None and patches[0] == shape.width and len(found) == sum(shape.blocks):
            return variant
    return ""
