"""SAM-Med2D: SAM with adapters, trained on medical pictures of 256 pixels, with boxes and with points.

The weights are yours to give: the published ``sam-med2d_b.pth``, or what its training code leaves. Pictures and prompts
are treated as its own predictor treats them: a picture is brought to 256 x 256 by nearest neighbour, whatever its
proportions, and of the three masks that the decoder makes for a prompt the one is kept whose overlap it expects to be
highest. Coordinates are handed on as they are, as the engine ``sam`` does.

The predictor marks a pixel where the sigmoid of its logit is above a half. That is a logit above 0, which is what is
asked for here; the two differ for logits under 1e-7, where single precision cannot tell.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import cv2

from medreasoner_monai.errors import ConfigError
from medreasoner_monai.segmenters.protocol import Image
from medreasoner_monai.segmenters.sam import SamSegmenter
from medreasoner_monai.segmenters.sam_weights import chosen_file, fill, read, require_package, tensors, untrained
from medreasoner_monai.segmenters.weights import trained_kinds
from medreasoner_monai.task.geometry import Frame

log = logging.getLogger("medreasoner")

# Part of the digest: raise it whenever the same weights give another mask.
VERSION = 1


class SamMed2dSegmenter(SamSegmenter):
    """Prompts to masks by a ``Sam`` with adapters; :func:`load` makes one from a file.

    Half precision, digest and embeddings are as :class:`~medreasoner_monai.segmenters.sam.SamSegmenter` has them.
    """

    name = "sam-med2d"
    version = VERSION
    best_of_three = True

    def seen(self, frame: Frame) -> tuple[int, int]:
        """The encoder's input, whatever the image's proportions."""
        return self.model.image_encoder.img_size, self.model.image_encoder.img_size

    def _resized(self, colour: Image, size: tuple[int, int]) -> Image:
        # The original normalises first; a nearest neighbour is the same pixel before and after.
        return cv2.resize(colour, size, interpolation=cv2.INTER_NEAREST)  # type: ignore[return-value]


def load(
    weights: str | None = None,
    sha256: str | None = None,
    device: str | None = None,
    random: bool = False,
    seed: int = 0,
    prompts: str | None = None,
) -> SamMed2dSegmenter:
    """The engine, with weights from a file.

    Parameters
    ----------
    weights:
        A ``.pth`` file in the published layout: tensors by name under the key ``model``. What lies beside them (an
        optimizer, an epoch) is not looked at. It is read as data alone and can run no code.
    sha256:
        What the file must have, in hex; not checked when absent.
    device:
        As torch names it; by default a GPU where there is one.
    random:
        Untrained weights from ``seed`` in place of a file's, for tests and benchmarks: their masks mean nothing.
    prompts:
        ``box`` or ``all``, the default: the weights were trained on boxes and on points.

    Raises
    ------
    ConfigError
        If the package is not installed, there are no weights, there is no such file or device, or the file has another
        sha256 or does not hold exactly SAM-Med2D's weights.
    """
    kinds = trained_kinds(prompts)
    file = chosen_file("sam-med2d", "in the published layout (sam-med2d_b.pth)", weights, sha256, random)
    require_package("sam-med2d")
    from medreasoner_monai.segmenters.sam_med2d_model import build, resized_to

    if file is None:
        return SamMed2dSegmenter(untrained(build, seed), {"random": seed}, device, prompt_kinds=kinds)
    path, digest = file
    model = build()
    state, resized = resized_to(model, _model_in(path))
    fill(model, state, path, "SAM-Med2D in the published layout", "Is it a SAM ViT-B with adapters, for 256 pixels?")
    if resized:
        log.warning("%s: %s are of another picture size and were interpolated", path, ", ".join(resized))
    return SamMed2dSegmenter(model, {"sha256": digest, "resized": resized}, device, prompt_kinds=kinds)


class _Aside:
    """Stands for an optimizer, of which nothing is kept."""

    def __setstate__(self, state: Any) -> None:
        """Drop it."""


def _emptied(*_: Any) -> dict[Any, Any]:
    """Stands for ``defaultdict``, which an optimizer's state is kept in."""
    return {}


# The training code saves the optimizer as an object. Its classes are not made, so none of their code runs.
_INSTEAD = (
    (_Aside, "torch.optim.adam.Adam"),
    (_Aside, "torch.optim.adamw.AdamW"),
    (_Aside, "torch.optim.sgd.SGD"),
    (_Aside, "builtins.dict"),
    (_emptied, "collections.defaultdict"),
)


def _model_in(path: Path) -> dict[str, Any]:
    """The tensors under the key ``model``.

    Raises
    ------
    ConfigError
        If there is no such key, or something else under it.
    """
    found = read(path, _INSTEAD)
    if not isinstance(found, dict) or "model" not in found:
        raise ConfigError(
            f"{path} has nothing under the key 'model', where SAM-Med2D's weights lie. Weights of SAM or MedSAM go to "
            "the segmenter 'sam'."
        )
    return tensors(found["model"], path)
