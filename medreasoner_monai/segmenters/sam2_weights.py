"""SAM 2's and MedSAM2's weights from a file or a folder, or untrained ones for tests and benchmarks."""

from __future__ import annotations

import json
import pickle
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medreasoner_monai.errors import ConfigError, nearest
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, PromptKind
from medreasoner_monai.segmenters.sam2 import Sam2Segmenter
from medreasoner_monai.segmenters.sam2_model import STACKED, Release, build, check_side, layout, parts, untrained
from medreasoner_monai.segmenters.sam2_names import ONLY_IN_2_1, VARIANTS, of_images, original_name, variant_of
from medreasoner_monai.segmenters.sam2_video import Sam2VideoSegmenter
from medreasoner_monai.segmenters.weights import trained_kinds, weights_digest

if TYPE_CHECKING:
    import torch

    State = dict[str, torch.Tensor]


def load(
    weights: str | None = None,
    variant: str = "tiny",
    image_size: int | str | None = None,
    sha256: str | None = None,
    device: str | None = None,
    random: bool = False,
    seed: int = 0,
    patience: int | str = 2,
    least_score: float | str = 0.0,
    prompts: str | None = None,
) -> Sam2Segmenter:
    """The engine, with weights from a file; with the memory's weights among them, one that carries masks.

    Parameters
    ----------
    weights:
        A ``.pt`` file of the original release, of SAM 2, SAM 2.1 or MedSAM2, read as tensors alone so that it can run
        no code; or a folder as transformers saves it, with ``config.json`` and ``model.safetensors``.
    variant:
        Which of :data:`~medreasoner_monai.segmenters.sam2_names.VARIANTS` the weights are of.
    image_size:
        Side of the square in pixels that the encoder sees, a multiple of 32; 512 for ``medsam2`` and 1024 for others,
        unless a folder says otherwise.
    sha256:
        What the file, or the folder's ``model.safetensors``, must have, in hex; not checked when absent.
    device:
        As torch names it; by default a GPU where there is one.
    random:
        Untrained weights from ``seed`` in place of a file's, for tests and benchmarks: their masks mean nothing.
    patience, least_score:
        When a carried mask ends: see :class:`~medreasoner_monai.segmenters.sam2_video.Sam2VideoSegmenter`.
    prompts:
        ``box`` or ``all``; by default what the weights were trained on
        (:func:`~medreasoner_monai.segmenters.weights.trained_kinds`).

    Raises
    ------
    ConfigError
        If there are no weights, there is no such file, variant, size or device, or the file has another sha256 or does
        not hold exactly this variant's weights.
    """
    if variant not in VARIANTS:
        hint = nearest(variant, VARIANTS)
        raise ConfigError(f"SAM 2 has no variant {variant!r}; known are {', '.join(VARIANTS)}.{hint}")
    if random == (weights is not None):
        raise ConfigError(
            "the segmenter 'sam2' needs weights: give `weights`, the path of a .pt file of SAM 2 or MedSAM2 or of a "
            f"folder saved by transformers, and its `variant` ({', '.join(VARIANTS)}). For tests and benchmarks give "
            "`random: true` instead."
        )
    kinds = trained_kinds(prompts, variant=variant, weights=weights)
    ends = _number("patience", patience, int), _number("least_score", least_score, float)
    asked = None if image_size is None else _number("image_size", image_size, int)
    shape = VARIANTS[variant]
    if weights is None:
        model = build(shape, check_side(shape.side if asked is None else asked))
        return segmenter(
            untrained(model, seed), {"variant": variant, "random": seed}, device, *ends, prompt_kinds=kinds
        )
    path, config = _located(Path(weights))
    found = weights_digest(path)
    if sha256 is not None and found != sha256.lower():
        raise ConfigError(f"{path} has sha256 {found}, expected {sha256}: it is another file, or damaged")
    state = read_folder_file(path) if config is not None else read_file(path)
    stored = (config or {}).get("prompt_encoder_config", {}).get("image_size")
    side = check_side(asked if asked is not None else stored if isinstance(stored, int) else shape.side)
    release: Release = "2.0" if not any(name in state for name in ONLY_IN_2_1) else "2.1"
    # transformers also saves what images need alone; the original's files always have a memory.
    memory = config is None or not all(map(of_images, state))
    model = build(shape, side, release, memory)
    fill(model, state, f"{path} does not hold SAM 2's variant {variant}")
    return segmenter(
        model, {"variant": variant, "release": release, "sha256": found}, device, *ends, prompt_kinds=kinds
    )


def segmenter(
    model: Any,
    identity: Mapping[str, Any],
    device: str | None = None,
    patience: int = 2,
    least_score: float = 0.0,
    *,
    prompt_kinds: tuple[PromptKind, ...] = PROMPT_KINDS,
) -> Sam2Segmenter:
    """The engine for a model: one that carries masks if the model has a memory."""
    if hasattr(model, "memory_attention"):
        return Sam2VideoSegmenter(model, identity, device, patience, least_score, prompt_kinds=prompt_kinds)
    return Sam2Segmenter(model, identity, device, prompt_kinds=prompt_kinds)


def read_file(path: Path) -> State:
    """The tensors of a ``.pt`` file in the original layout, by its names.

    Raises
    ------
    ConfigError
        If the file cannot be read as tensors alone, or does not hold a model's.
    """
    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, OSError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read as weights and nothing else ({type(error).__name__})") from None
    state = content.get("model") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ConfigError(f"{path} does not hold tensors by name under the key 'model', as SAM 2's original weights do")
    return state


def read_folder_file(path: Path) -> State:
    """The tensors of a file that transformers saved, by the original's names.

    Raises
    ------
    ConfigError
        If the file is not of the safetensors format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path} cannot be read as safetensors ({type(error).__name__})") from None
    state: State = {}
    for name, tensor in tensors.items():
        if name == STACKED:
            state |= dict(zip(parts(len(tensor)), tensor[:, None], strict=True))
        else:
            state[original_name(name)] = tensor
    return state


def fill(model: Any, state: State, fault: str) -> None:
    """Give a model its weights: each that it has, and no other.

    Parameters
    ----------
    state:
        Tensors by the original's names.
    fault:
        What to say of weights that do not fit.

    Raises
    ------
    ConfigError
        If a weight is missing, too many, or of another shape; the message names the first.
    """
    import torch

    shapes = layout(model)
    wrong = {
        "it lacks": [name for name in shapes if name not in state],
        "it should not have": [name for name in state if name not in shapes],
        "of another shape is": [n for n, shape in shapes.items() if n in state and tuple(state[n].shape) != shape],
    }
    faults = [f"{what} {_first(names)}" for what, names in wrong.items() if names]
    if faults:
        raise ConfigError(f"{fault}: {'; '.join(faults)}.{_hint(state, shapes)}")
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name == STACKED:
                tensor.copy_(torch.cat([state[part] for part in parts(len(tensor))]))
            else:
                tensor.copy_(state[original_name(name)])


def _hint(state: State, shapes: Collection[str]) -> str:
    """What else the weights may be."""
    variant = variant_of({name: tuple(tensor.shape) for name, tensor in state.items()})
    if variant:
        return f" Is `variant` that of the file? They look like {variant}'s."
    if any(name in state for name in shapes):
        return " The image encoder is of no variant that is known."
    return " They are not SAM 2's."


def _located(path: Path) -> tuple[Path, dict[str, Any] | None]:
    """The file of weights and, where it lies in a folder of transformers, the folder's configuration."""
    if path.is_file():
        return path, None
    if not path.is_dir():
        raise ConfigError(f"there is no {path}; `weights` is the path of a .pt file or of a folder")
    config, weights = path / "config.json", path / "model.safetensors"
    for file in (config, weights):
        if not file.is_file():
            raise ConfigError(f"{path} has no {file.name}, which a folder saved by transformers has")
    try:
        found = json.loads(config.read_text())
    except ValueError:
        raise ConfigError(f"{config} is not JSON") from None
    kind = found.get("model_type") if isinstance(found, dict) else None
    if kind not in ("sam2", "sam2_video"):
        raise ConfigError(f"{config} is of a model of type {kind!r}; 'sam2' or 'sam2_video' is expected")
    return weights, found


def _number(name: str, value: Any, kind: type[int] | type[float]) -> Any:
    """An option from the command line is text."""
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"the segmenter 'sam2' needs a number for `{name}`, got {value!r}") from None


def _first(names: Sequence[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more
