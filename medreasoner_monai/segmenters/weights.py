"""Weights given by the user: their sha256, and which prompts they were trained on."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from medreasoner_monai.errors import ConfigError, InputError
from medreasoner_monai.files import file_digest, object_digest
from medreasoner_monai.segmenters.protocol import PROMPT_KINDS, PromptKind

_FOLDER = ("config.json", "model.safetensors")
_BOX_ONLY_VARIANTS = frozenset({"medsam", "medsam2"})
_BOX_ONLY_NAME = re.compile("medsam", re.IGNORECASE)


def weights_digest(path: Path) -> str:
    """sha256 of a weights file, or over ``config.json`` and ``model.safetensors`` of a folder saved by transformers.

    Computed once per process and file: the path, size and modification time tell whether it is still the same.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    if path.is_dir():
        return object_digest({name: weights_digest(path / name) for name in _FOLDER})
    try:
        status = path.stat()
        return _digest(path.resolve(), status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"the weights {path} cannot be read: {error.strerror}") from None


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, modified: int) -> str:
    return file_digest(path)


def trained_kinds(
    prompts: str | None = None, *, variant: str = "", weights: str | Path | None = None
) -> tuple[PromptKind, ...]:
    """The kinds of prompt that weights were trained on.

    MedSAM, MedSAM2 and LiteMedSAM learnt from boxes alone, and have the layers of models that take points too, so the
    tensors do not show it.

    Parameters
    ----------
    prompts:
        The engine option: ``box``, or ``all`` to send every kind whatever the weights are, as some published
        comparisons do. It overrides the rest.
    variant:
        The engine option; ``medsam`` and ``medsam2`` are box-only.
    weights:
        Where they lie: a name with "medsam" in it is taken for one of that family.

    Raises
    ------
    ConfigError
        If ``prompts`` is something else.

    Examples
    --------
    >>> trained_kinds(weights="medsam_vit_b.pth")
    ('box',)
    >>> trained_kinds("all", weights="medsam_vit_b.pth")
    ('points', 'box', 'both')
    """
    if prompts not in (None, "box", "all"):
        raise ConfigError(f"a segmenter's option `prompts` is box or all, got {prompts!r}")
    named = weights is not None and _BOX_ONLY_NAME.search(Path(weights).name) is not None
    if prompts == "box" or (prompts is None and (variant in _BOX_ONLY_VARIANTS or named)):
        return ("box",)
    return PROMPT_KINDS
