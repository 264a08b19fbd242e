"""An existing bundle: what lies in it, whether it is still what was packaged, and the engines it names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreasoner_monai.artifacts import file_digest
from medreasoner_monai.bundle.asking import AskSettings, parse_carry, parse_slices
from medreasoner_monai.errors import ArtifactError, InputError
from medreasoner_monai.reasoners.protocol import Reasoner
from medreasoner_monai.segmenters.protocol import Segmenter

CONFIG = "configs/inference.json"
METADATA = "configs/metadata.json"
MODEL = "models/reasoner"
SEGMENTER = "models/segmenter"
LINEAGE = "models/lineage.json"


@dataclass(frozen=True)
class Bundle:
    """A packaged bundle. ``config`` is inference.json read as data: nothing in it is evaluated."""

    root: Path
    config: Mapping[str, Any] = field(repr=False)
    lineage: Mapping[str, Any] = field(repr=False)

    @classmethod
    def open(cls, root: Path | str) -> Bundle:
        """Open a bundle folder.

        Raises
        ------
        InputError
            If it is no bundle of ours, or has no model in it (the bundle's source, not a packaged one).
        """
        root = Path(root)
        if not (root / CONFIG).is_file():
            raise InputError(
                f"{root} is no bundle: it has no {CONFIG}; give the folder that `medreasoner package` made"
            )
        if not (root / MODEL).is_dir():
            raise InputError(f"{root} has no model under {MODEL}; fill it with `medreasoner package`")
        return cls(root, _load(root / CONFIG), _load(root / LINEAGE))

    def verify(self) -> None:
        """Check the model's files against the digests noted when the bundle was made.

        Raises
        ------
        ArtifactError
            If a file is missing or has changed.
        """
        for name, digest in self.lineage["files"].items():
            path = self.root / MODEL / name
            if not path.is_file():
                raise ArtifactError(f"{path} is missing, though {LINEAGE} lists it; package the bundle again")
            if file_digest(path) != digest:
                raise ArtifactError(f"{path} has changed since the bundle was made; package the bundle again")

    def reasoner(self, device: str | None = None) -> Reasoner:
        """The bundle's reasoner on ``device`` (default: a GPU where there is one), after :meth:`verify`."""
        import torch

        from medreasoner_monai.reasoners.hf import HuggingFaceReasoner

        self.verify()
        return HuggingFaceReasoner.load(
            self.root / MODEL, device=device or ("cuda" if torch.cuda.is_available() else "cpu")
        )

    def segmenter(self, text: str | None = None) -> Segmenter[Any]:
        """The segmenter that inference.json names, or another."""
        if text is not None:
            return build_segmenter(text)
        return build_segmenter(str(self.config["segmenter_name"]), self.root)

    def asking(self) -> AskSettings:
        """How inference.json asks."""
        return ask_settings(self.config)


def ask_settings(config: Mapping[str, Any]) -> AskSettings:
    """How to ask, from the entries of inference.json that are about it; what is missing has its default.

    Raises
    ------
    InputError
        If a value is not of its kind.
    """
    try:
        return AskSettings(
            parse_slices(config.get("slices", "auto")),
            parse_carry(config.get("carry", "auto")),
            int(config.get("answers", 1)),
            float(config.get("temperature", 0.7)),
            float(config.get("confidence_threshold", 0.0)),
        )
    except (TypeError, ValueError):
        raise InputError("answers, temperature and confidence_threshold must be numbers") from None


def build_segmenter(text: str, root: Path | None = None) -> Segmenter[Any]:
    """A segmenter as :class:`~medreasoner_monai.segmenters.registry.Choice` reads it, such as ``classical``.

    Parameters
    ----------
    root:
        A bundle's folder: relative ``weights`` are looked for in it first.
    """
    from medreasoner_monai.segmenters.registry import Choice

    choice = Choice.read(text)
    weights = choice.options.get("weights")
    if root is not None and weights is not None and (root / weights).exists():
        choice.options["weights"] = str(root / weights)
    return choice.build()


def _load(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; package the bundle again") from None
    except ValueError as error:
        raise ArtifactError(f"{path} cannot be read: {error}; package the bundle again") from None
    return value
