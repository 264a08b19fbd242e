"""A probe: what the live model answered at a checkpoint, so that the merged folder can be held against it.

One small picture, one question, the logits of the last few positions. It is made where the model is trained, with all
ranks taking part (under ZeRO-3 a forward pass gathers the parameters by itself), and kept beside the shards.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.reasoners.folder import load_processor, read_config
from medreasoner_monai.training.merging.model import load_model
from medreasoner_monai.training.merging.source import PROBE

VERSION = "1"
"""Of picture and question; inputs of another version are not made again from the folder's processor."""
_QUESTION = "Where is the bright area?"
_KEPT = 12
_INPUTS = ("input_ids", "attention_mask", "mm_token_type_ids", "pixel_values", "image_grid_thw")


@dataclass(frozen=True)
class Probe:
    """Inputs, and logits ``(positions, vocabulary)`` in float32 as a model of ``dtype`` on ``device`` gave them."""

    inputs: dict[str, Tensor]
    logits: Tensor
    dtype: str
    device: str
    version: str = VERSION

    @property
    def rounded(self) -> bool:
        """Whether the live model computed in less than float32."""
        return self.dtype != "float32"

    def save(self, folder: Path) -> Path:
        """Write ``probe.safetensors`` into a folder, best that of the shards; under this name only once it is whole."""
        from safetensors.torch import save_file

        path = folder / PROBE
        temporary = path.with_name(path.name + ".tmp")
        about = {"dtype": self.dtype, "device": self.device, "version": self.version}
        save_file({**self.inputs, "logits": self.logits}, temporary, metadata={"probe": json.dumps(about)})
        temporary.replace(path)
        return path

    @classmethod
    def load(cls, path: Path) -> Probe:
        """Read a probe.

        Raises
        ------
        InputError
            If the file is damaged or no probe.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as opened:
                about = json.loads((opened.metadata() or {})["probe"])
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
            logits = tensors.pop("logits")
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"{path} cannot be read as a probe: {error}") from None
        return cls(tensors, logits, about["dtype"], about["device"], about["version"])


def make_probe(model: Any, processor: Any) -> Probe:
    """Ask a live model (a DeepSpeed engine, a PEFT model or the plain one); its modes and gradients stay as they were.

    Under ZeRO-3 every rank has to call this, and every rank gets the same.
    """
    inputs = probe_inputs(processor)
    parameter = next(p for p in model.parameters() if p.is_floating_point())
    logits = _logits(model, inputs, parameter.device)
    return Probe(inputs, logits, str(parameter.dtype).removeprefix("torch."), parameter.device.type)


def check_probe(folder: Path, probe: Probe) -> float:
    """The largest absolute difference between the logits of a model folder and the probe's; infinite where one is NaN.

    Raises
    ------
    ArtifactError
        If the folder's tokenizer or processor reads the probe's picture and question differently from the training's.
    """
    if probe.version == VERSION:
        now = probe_inputs(load_processor(folder))
        for name, tensor in probe.inputs.items():
            same = name in now and now[name].shape == tensor.shape and torch.allclose(now[name], tensor, atol=1e-4)
            if not same:
                raise ArtifactError(
                    f"the merged folder's processor makes other {name} than the training's; "
                    "is --base the model that training started from?"
                )
    model, _ = load_model(folder, getattr(torch, probe.dtype))
    difference = (_logits(model, probe.inputs, torch.device("cpu")) - probe.logits).abs().max().item()
    return math.inf if math.isnan(difference) else difference


def hold_against(path: Path, folder: Path, *, stored: str) -> dict[str, Any]:
    """Check a folder whose weights are ``stored`` in that precision; what there is to say about it.

    Raises
    ------
    ArtifactError
        If its logits differ by more than :func:`tolerance`.
    """
    probe = Probe.load(path)
    config = read_config(folder)
    layers = config["text_config"]["num_hidden_layers"] + config["vision_config"]["depth"]
    difference = check_probe(folder, probe)
    allowed = tolerance(probe, layers, stored_rounded=stored != "float32")
    if not difference <= allowed:
        raise ArtifactError(
            f"the merged model's logits differ by {difference:.3g} from those of the live model in {path}, at most "
            f"{allowed:.3g} is allowed: shards and probe are not of one checkpoint, or --base is not what was trained"
        )
    return {"max_abs_difference": difference, "tolerance": allowed, "dtype": probe.dtype, "device": probe.device}


def tolerance(probe: Probe, layers: int, *, stored_rounded: bool) -> float:
    """How far logits may lie apart.

    In float32, 1e-4 of the largest logit (at least of 1): another order of summation. Where either side is bfloat16,
    each of some sixteen operations a layer rounds by up to 2^-9 of its value; such errors add up as their root mean
    square does, to ``2^-9 sqrt(16 layers)`` of the largest logit. Measured: half of that, where halving a single matrix
    of the model makes ten times as much.
    """
    largest = max(1.0, probe.logits.abs().max().item())
    if not probe.rounded and not stored_rounded:
        return 1e-4 * largest
    return 2**-9 * math.sqrt(16 * layers) * largest


def probe_inputs(processor: Any) -> dict[str, Tensor]:
    """The picture and the question as the processor makes them."""
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": _QUESTION}]}]
    text = processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    made = processor(images=[_picture()], text=[text], return_tensors="pt")
    return {name: made[name].contiguous() for name in _INPUTS if name in made}


def _picture() -> Any:
    """A slope with a bright square, 56 x 56."""
    from PIL import Image

    rows, cols = np.mgrid[0:56, 0:56]
    grey = (rows * 2 + cols).astype(np.uint8)
    grey[12:30, 20:44] = 230
    return Image.fromarray(np.repeat(grey[:, :, None], 3, axis=2))


def _logits(model: Any, inputs: dict[str, Tensor], device: torch.device) -> Tensor:
    with _asking(model), torch.no_grad():
        out = model(**{name: tensor.to(device) for name, tensor in inputs.items()}, use_cache=False)
    kept: Tensor = out.logits[0, -_KEPT:].float().cpu().contiguous()
    return kept


@contextmanager
def _asking(model: Any) -> Iterator[None]:
    """Evaluation mode, each module's own mode given back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
