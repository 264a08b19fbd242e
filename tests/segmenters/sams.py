"""Small models of SAM's own classes, and what the package's own predictor says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

from medreasoner_monai.geometry import Box, Frame, Points
from medreasoner_monai.segmenters.protocol import Image, Prompt
from medreasoner_monai.segmenters.sam import SamSegmenter
from medreasoner_monai.segmenters.sam_weights import untrained

SIDE = 128


def small_sam(width: int = 32, relative: bool = True) -> Any:
    """8 x 8 tokens, seen once through windows that do not divide them, and once as a whole."""
    grid = (SIDE // 16, SIDE // 16)
    return Sam(
        ImageEncoderViT(
            img_size=SIDE,
            embed_dim=width,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=relative,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(embed_dim=32, image_embedding_size=grid, input_image_size=(SIDE, SIDE), mask_in_chans=4),
        MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, num_heads=4, mlp_dim=64)),
    )


def segmenter(seed: int = 0) -> SamSegmenter:
    """The engine with a small untrained model."""
    return SamSegmenter(untrained(small_sam, seed), {"variant": "small", "random": seed})


def picture(*shape: int) -> Image:
    """Noise with a bright area."""
    image = np.random.default_rng(sum(shape)).integers(0, 120, shape, dtype=np.uint8)
    image[shape[0] // 4 : shape[0] // 2, shape[1] // 3 : shape[1] // 2] += 130
    return image


def prompt(frame: Frame) -> Prompt:
    """A box and two points in the middle of a frame, at fractions of pixels."""
    w, h = frame.width, frame.height
    points = Points((w * 0.31, h * 0.42), (w * 0.57, h * 0.63), frame)
    return Prompt(Box(w * 0.22, h * 0.18, w * 0.77, h * 0.81, frame), points)


class Original:
    """The package's own predictor, asked as its documentation shows."""

    def __init__(self, model: Any, image: Image) -> None:
        self.predictor = SamPredictor(model)
        self.predictor.set_image(image if image.ndim == 3 else np.stack([image] * 3, axis=-1))

    def logits(self, asked: Prompt) -> np.ndarray:
        """For a prompt in the image's own frame, ``(rows, cols)``."""
        told: dict[str, Any] = {"box": np.array(asked.box.xyxy)} if asked.box else {}
        if asked.points:
            told |= {"point_coords": np.array(asked.points.xy), "point_labels": np.ones(2)}
        masks, _, _ = self.predictor.predict(**told, multimask_output=False, return_logits=True)
        return np.asarray(masks[0])
