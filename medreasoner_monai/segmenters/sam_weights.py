"""SAM's and MedSAM's weights from a file, or untrained ones for tests and benchmarks; SAM-Med2D shares the steps."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.segmenters.sam import SamSegmenter
from medreasoner_monai.segmenters.weights import trained_kinds, weights_digest

VARIANTS = ("vit_b", "vit_l", "vit_h")
MEDSAM = "medsam"
"""A variant too: ViT-B with weights that were trained on boxes alone."""


def load(
    weights: str | None = None,
    variant: str = "vit_b",
    sha256: str | None = None,
    device: str | None = None,
    random: bool = False,
    seed: int = 0,
    prompts: str | None = None,
) -> SamSegmenter:
    """The engine, with weights from a file.

    Parameters
    ----------
    weights:
        A ``.pth`` file in the original layout, SAM's or MedSAM's. It is read as tensors alone and can run no code.
    variant:
        Which of :data:`VARIANTS` the weights are of, or :data:`MEDSAM`.
    sha256:
        What the file must have, in hex; not checked when absent.
    device:
        As torch names it; by default a GPU where there is one.
    random:
        Untrained weights from ``seed`` in place of a file's, for tests and benchmarks: their masks mean nothing.
    prompts:
        ``box`` or ``all``; by default what the weights were trained on
        (:func:`~medreasoner_monai.segmenters.weights.trained_kinds`).

    Raises
    ------
    ConfigError
        If the package is not installed, there are no weights, there is no such file, variant or device, or the file has
        another sha256 or does not hold exactly this variant's weights.
    """
    variants = (*VARIANTS, MEDSAM)
    if variant not in variants:
        hint = nearest(variant, variants)
        raise ConfigError(f"SAM has no variant {variant!r}; known are {', '.join(variants)}.{hint}")
    kinds = trained_kinds(prompts, variant=variant, weights=weights)
    known = f"in the original layout (SAM's or MedSAM's), and its `variant` ({', '.join(variants)})"
    file = chosen_file("sam", known, weights, sha256, random)
    require_package("sam")
    from segment_anything import sam_model_registry

    architecture = "vit_b" if variant == MEDSAM else variant
    build: Callable[[], Any] = sam_model_registry[architecture]
    if file is None:
        made, identity = untrained(build, seed), {"variant": architecture, "random": seed}
        return SamSegmenter(made, identity, device, prompt_kinds=kinds)
    path, digest = file
    model = build()
    hint = f"Is `variant` ({', '.join(variants)}) that of the file?"
    fill(model, tensors(read(path), path), path, f"SAM {architecture} in the original layout", hint)
    return SamSegmenter(model, {"variant": architecture, "sha256": digest}, device, prompt_kinds=kinds)


def chosen_file(
    engine: str, known: str, weights: str | None, sha256: str | None, random: bool
) -> tuple[Path, str] | None:
    """The file of weights and its sha256, or None where untrained ones are asked for.

    Parameters
    ----------
    known:
        What kind of ``.pth`` file it is, for the message.

    Raises
    ------
    ConfigError
        If neither or both are asked for, or there is no such file, or it has another sha256.
    """
    if random == (weights is not None):
        raise ConfigError(
            f"the segmenter {engine!r} needs weights: give `weights`, the path of a .pth file {known}. For tests and "
            "benchmarks give `random: true` instead."
        )
    if weights is None:
        return None
    path = Path(weights)
    if not path.is_file():
        raise ConfigError(f"there is no file {path}; `weights` is the path of a .pth file")
    found = weights_digest(path)
    if sha256 is not None and found != sha256.lower():
        raise ConfigError(f"{path} has sha256 {found}, expected {sha256}: it is another file, or damaged")
    return path, found


def require_package(engine: str) -> None:
    """See that segment-anything is there.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import segment_anything  # noqa: F401 (it is asked for, not used)
    except ImportError:
        raise ConfigError(
            f"the segmenter {engine!r} needs segment-anything: uv pip install -c constraints/python311.txt -e '.[sam]'"
        ) from None


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


def read(path: Path, instead: Sequence[tuple[Any, str]] = ()) -> Any:
    """What a file of ``torch.save`` holds, tensors and containers alone.

    Parameters
    ----------
    instead:
        Our own stand-ins, each with the full name of the class that a file may name and that is not to be made.

    Raises
    ------
    ConfigError
        If it holds anything else, or is damaged.
    """
    import torch

    try:
        with torch.serialization.safe_globals(list(instead)):
            # Mapped, so that what is not used stays on the disk; files of old versions cannot be.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as weights and nothing else ({type(error).__name__})") from None


def tensors(state: Any, path: Path) -> dict[str, Any]:
    """The same, known to be tensors by name.

    Raises
    ------
    ConfigError
        If it is not.
    """
    import torch

    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ConfigError(f"{path} does not hold tensors by name, as SAM's original weights do")
    return state


def fill(model: Any, state: Mapping[str, Any], path: Path, what: str, hint: str) -> None:
    """Load weights into a model: each that it has, and no other.

    Parameters
    ----------
    state:
        Tensors by name.
    path, what, hint:
        Where they are from, what they should be, and a sentence on what may be wrong, for the message.

    Raises
    ------
    ConfigError
        If a weight is missing, too many, or of another shape.
    """
    expected = model.state_dict()
    wrong = {
        "it lacks": [name for name in expected if name not in state],
        "it should not have": [name for name in state if name not in expected],
        "of another shape is": [
            name for name in expected if name in state and state[name].shape != expected[name].shape
        ],
    }
    faults = [f"{fault} {_first(names)}" for fault, names in wrong.items() if names]
    if faults:
        raise ConfigError(f"{path} does not hold {what}: {'; '.join(faults)}. {hint}")
    model.load_state_dict(state)


def _first(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more
