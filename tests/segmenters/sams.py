"""Small models of SAM's own classes, and what the package's own predictor says of them; the same of SAM-Med2D."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from segment_anything import SamPredictor
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.modeling.image_encoder import window_partition, window_unpartition

from medreasoner_monai.segmenters.protocol import Image, Prompt
from medreasoner_monai.segmenters.sam import SamSegmenter
from medreasoner_monai.segmenters.sam_med2d import SamMed2dSegmenter
from medreasoner_monai.segmenters.sam_med2d_model import with_adapters
from medreasoner_monai.segmenters.sam_weights import untrained
from medreasoner_monai.task.geometry import Box, Frame, Points

SIDE = 128


def small_sam(width: int = 32, relative: bool = True, side: int = SIDE) -> Any:
    """8 x 8 tokens, seen once through windows that do not divide them, and once as a whole."""
    grid = (side // 16, side // 16)
    return Sam(
        ImageEncoderViT(
            img_size=side,
            embed_dim=width,
            depth=2,
            num_heads=2,
            out_chans=32,
            use_rel_pos=relative,
            window_size=3,
            global_attn_indexes=(1,),
        ),
        PromptEncoder(embed_dim=32, image_embedding_size=grid, input_image_size=(side, side), mask_in_chans=4),
        MaskDecoder(transformer_dim=32, transformer=TwoWayTransformer(2, 32, num_heads=4, mlp_dim=64)),
    )


def segmenter(seed: int = 0) -> SamSegmenter:
    """The engine with a small untrained model."""
    return SamSegmenter(untrained(small_sam, seed), {"variant": "small", "random": seed})


def small_med2d(side: int = SIDE) -> Any:
    """The small model with adapters; of another picture size, it has more tokens and longer position encodings."""
    return with_adapters(small_sam(side=side))


def med2d(seed: int = 0) -> SamMed2dSegmenter:
    """SAM-Med2D's engine with a small untrained model."""
    return SamMed2dSegmenter(untrained(small_med2d, seed), {"random": seed})


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


class OriginalMed2d:
    """SAM-Med2D's predictor as its description has it, from the package's layers and in their own order of work."""

    def __init__(self, model: Any, image: Image) -> None:
        self.model, self.size = model, image.shape[:2]
        side = model.image_encoder.img_size
        colour = image if image.ndim == 3 else np.stack([image] * 3, axis=-1)
        normal = (colour - np.array([123.675, 116.28, 103.53])) / np.array([58.395, 57.12, 57.375])
        rows, cols = (np.arange(side) * n // side for n in self.size)  # the nearest, as OpenCV counts it
        seen = torch.from_numpy(normal[rows][:, cols]).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            self.features = self.encoded(seen)
        self.scale = np.array([side / self.size[1], side / self.size[0]])

    def encoded(self, seen: torch.Tensor) -> torch.Tensor:
        """Features ``(1, channels, h, w)`` of a normalised picture ``(1, 3, side, side)``."""
        encoder = self.model.image_encoder
        x = encoder.patch_embed(seen) + encoder.pos_embed
        for block in encoder.blocks:
            n = block.norm1(x)
            if block.window_size:
                windows, padded = window_partition(n, block.window_size)
                n = window_unpartition(block.attn(windows), block.window_size, padded, x.shape[1:3])
            else:
                n = block.attn(n)
            x = x + n
            n = block.norm2(x)
            x = x + block.mlp(n) + block.Adapter(n)
        return encoder.neck(x.permute(0, 3, 1, 2))

    def logits(self, asked: Prompt) -> np.ndarray:
        """For a prompt in the image's own frame, ``(rows, cols)``."""
        box = points = None
        if asked.box:
            box = torch.from_numpy((np.array(asked.box.xyxy).reshape(1, 2, 2) * self.scale).reshape(1, 4)).float()
        if asked.points:
            points = torch.from_numpy(np.array([asked.points.xy]) * self.scale).float(), torch.ones(1, 2)
        with torch.no_grad():
            sparse, dense = self.model.prompt_encoder(points=points, boxes=box, masks=None)
            places = self.model.prompt_encoder.get_dense_pe()
            masks, ious = self.model.mask_decoder(self.features, places, sparse, dense, multimask_output=True)
            best = masks[:, [int(ious[0].argmax())]]
            best = F.interpolate(best, (self.model.image_encoder.img_size,) * 2, mode="bilinear", align_corners=False)
            return F.interpolate(best, self.size, mode="bilinear", align_corners=False)[0, 0].numpy()
