"""An existing bundle: what lies in it, whether it is still what was packaged, and the engines it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medreasoner_monai.dicom.rules import AS_STORED, parse_rule
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.request import GroundingSettings, parse_carry, parse_slices
from medreasoner_monai.reasoners.calibration import Calibration
from medreasoner_monai.reasoners.packaged import CONFIG, LINEAGE, MODEL, is_bundle, read_json, verify_model
from medreasoner_monai.reasoners.protocol import Reasoner
from medreasoner_monai.reasoners.registry import ReasonerOptions, build
from medreasoner_monai.segmenters.protocol import Segmenter

METADATA = "configs/metadata.json"
SEGMENTER = "models/segmenter"


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
            If it is not a bundle of ours, or has no model in it (the bundle's source, not a packaged one).
        """
        root = Path(root)
        if not is_bundle(root):
            raise InputError(
                f"{root} is not a bundle: it has no {CONFIG}; give the folder that `medreasoner package` made"
            )
        if not (root / MODEL).is_dir():
            raise InputError(f"{root} has no model under {MODEL}; fill it with `medreasoner package`")
        return cls(root, read_json(root / CONFIG), read_json(root / LINEAGE))

    def verify(self) -> None:
        """Check the model's files against the digests noted when the bundle was made.

        Raises
        ------
        ArtifactError
            If a file is missing or has changed.
        """
        verify_model(self.root)

    def reasoner(self, device: str | None = None) -> Reasoner:
        """The bundle's reasoner on ``device`` (default: a GPU where there is one), its files verified."""
        return build(str(self.root), ReasonerOptions(device=device))

    def segmenter(self, text: str | None = None) -> Segmenter[Any]:
        """The segmenter that inference.json names, or another."""
        if text is not None:
            return build_segmenter(text)
        return build_segmenter(str(self.config["segmenter_name"]), self.root)

    def grounder(
        self, device: str | None = None, segmenter: str | None = None, reasoner: Reasoner | None = None
    ) -> Grounder:
        """The bundle's models loaded and ready to ground series.

        Parameters
        ----------
        device:
            As torch names it; by default a GPU where there is one.
        segmenter:
            Another segmenter than the bundle's, as :class:`~medreasoner_monai.segmenters.registry.Choice` reads it.
        reasoner:
            In place of the bundle's model, which is then not loaded; the bundle's lineage is not its lineage.

        Raises
        ------
        InputError
            If the segmenter cannot be made.
        ArtifactError
            If a file of the model is missing or has changed.
        """
        if reasoner is not None:
            # The calibration was fitted with the bundle's model.
            return Grounder(reasoner, self.segmenter(segmenter), {}, self.settings().without_calibration())
        return Grounder(self.reasoner(device), self.segmenter(segmenter), self.lineage, self.settings())

    def settings(self) -> GroundingSettings:
        """How inference.json asks."""
        return read_settings(self.config)


def read_settings(config: Mapping[str, Any]) -> GroundingSettings:
    """How to ask, from the entries of inference.json that are about it; what is missing has its default.

    Raises
    ------
    InputError
        If a value is not of its kind.
    """
    try:
        return GroundingSettings(
            slices=parse_slices(config.get("slices", "auto")),
            carry=parse_carry(config.get("carry", "auto")),
            answers=int(config.get("answers", 1)),
            temperature=float(config.get("temperature", 0.7)),
            threshold=float(config.get("confidence_threshold", 0.0)),
            rendering=parse_rule(config.get("rendering", AS_STORED.name)),
            calibration=Calibration.read(table) if (table := config.get("calibration")) else None,
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
