"""SAM's and MedSAM's weights from a file, or untrained ones for tests and benchmarks."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medreasoner_monai.artifacts import file_digest
from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.segmenters.sam import SamSegmenter

VARIANTS = ("vit_b", "vit_l", "vit_h")


def load(
    weights: str | None = None,
    variant: str = "vit_b",
    sha256: str | None = None,
    device: str | None = None,
    random: bool = False,
    seed: int = 0,
) -> SamSegmenter:
    """The engine, with weights from a file.

    Parameters
    ----------
    weights:
        A ``.pth`` file in the original layout, SAM's or MedSAM's. It is read as tensors alone and can run no code.
    variant:
        Which of :data:`VARIANTS` the weights are of.
    sha256:
        What the file must have, in hex; not checked when absent.
    device:
        As torch names it; by default a GPU where there is one.
    random:
        Untrained weights from ``seed`` in place of a file's, for tests and benchmarks: their masks mean nothing.

    Raises
    ------
    ConfigError
        If the package is not installed, there are no weights, there is no such file, variant or device, or the file has
        another sha256 or does not hold exactly this variant's weights.
    """
    if variant not in VARIANTS:
        hint = nearest(variant, VARIANTS)
        raise ConfigError(f"SAM has no variant {variant!r}; known are {', '.join(VARIANTS)}.{hint}")
    if random == (weights is not None):
        raise ConfigError(
            "the segmenter 'sam' needs weights: give `weights`, the path of a .pth file in the original layout "
            f"(SAM's or MedSAM's), and its `variant` ({', '.join(VARIANTS)}). For tests and benchmarks give "
            "`random: true` instead."
        )
    try:
        from segment_anything import sam_model_registry
    except ImportError:
        raise ConfigError(
            "the segmenter 'sam' needs segment-anything: uv pip install -c constraints/python311.txt -e '.[sam]'"
        ) from None
    build: Callable[[], Any] = sam_model_registry[variant]
    if weights is None:
        return SamSegmenter(untrained(build, seed), {"variant": variant, "random": seed}, device)
    path = Path(weights)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; `weights` is the path of a .pth file")
    found = file_digest(path)
    if sha256 is not None and found != sha256.lower():
        raise ConfigError(f"{path} has sha256 {found}, expected {sha256}: it is another file, or damaged")
    model = build()
    fill(model, path, variant)
    return SamSegmenter(model, {"variant": variant, "sha256": found}, device)


def untrained(build: Callable[[], Any], seed: int) -> Any:
    """A model from ``build()`` with weights that the seed decides, each of which has an effect."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build()
        for weight in model.parameters():
            # The package begins position encodings at zero, where an error in their use could not be seen.
            if weight.ndim > 1 and not weight.any():
                torch.nn.init.normal_(weight, std=0.02)
    return model


def fill(model: Any, path: Path, variant: str) -> None:
    """Load weights from a file into a model: each that it has, and no other.

    Raises
    ------
    ConfigError
        If the file does not hold tensors by name, lacks one, has one too many, or one of another shape.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as weights and nothing else ({type(error).__name__})") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ConfigError(f"{path} does not hold tensors by name, as SAM's original weights do")
    wanted = model.state_dict()
    wrong = {
        "it lacks": [name for name in wanted if name not in state],
        "it should not have": [name for name in state if name not in wanted],
        "of another shape is": [name for name in wanted if name in state and state[name].shape != wanted[name].shape],
    }
    faults = [f"{what} {_first(names)}" for what, names in wrong.items() if names]
    if faults:
        raise ConfigError(
            f"{path} does not hold SAM {variant} in the original layout: {'; '.join(faults)}. Is `variant` "
            f"({', '.join(VARIANTS)}) that of the file?"
        )
    model.load_state_dict(state)


def _first(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more
