"""Pictures and masks in a folder, named as BiomedParse and U-MRG's sources name them.

``images/<id>_<modality>_<site>.png`` and ``masks/<id>_<modality>_<site>_<target+words>.png``; a mask may also have its
image's exact name, and then each of its values above 0 is a target. A mask is that of the image with the longest name
it begins with.

A ``SOURCE.json`` beside the two folders may state ``licence``, ``image_licences`` and ``groups`` (licence and patient
by picture id), ``grouping_rule`` (null, or beginning with "none", where patients are unknown) and ``counts.groups``
(how many there are, which is checked). Where it has a rule and no pattern is configured, ids are read by one of
:data:`~medreasoner_monai.data.sources.patients.HABITS`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.pictures import read_image, read_labels
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.licences import about, licence_of
from medreasoner_monai.data.sources.modality import modality_of
from medreasoner_monai.data.sources.patients import Patients, habit
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.reading import read_picture
from medreasoner_monai.errors import InputError, nearest
from medreasoner_monai.files import file_digest, object_digest
from medreasoner_monai.settings.sources import FolderSettings


def folder_sources(settings: FolderSettings) -> list[FolderSource]:
    """The source of a folder, or one source per folder inside it that has ``images`` and ``masks``.

    Raises
    ------
    InputError
        If neither is there, ``patients`` names a set that is not, or a set's patients are not what it states.
    """
    path = settings.path
    if (path / "images").is_dir():
        found = [_one(settings, path, settings.name or path.resolve().name)]
    else:
        folders = [p for p in sorted(path.glob("*")) if (p / "images").is_dir()]
        if not folders:
            raise InputError(f"{path} has no images/*.png and masks/*.png, and no folder in it has")
        found = [_one(settings, p, p.name) for p in folders]
    names = [source.name for source in found]
    for name in settings.patients:
        if name not in names:
            raise InputError(f"{path}: patients names the set {name!r}, which is not there.{nearest(name, names)}")
    return found


def _one(settings: FolderSettings, path: Path, name: str) -> FolderSource:
    patient = settings.patients.get(name, settings.patient)
    return FolderSource(settings.model_copy(update={"path": path, "patient": patient}), name)


@dataclass(frozen=True)
class FolderSource:
    """One folder with ``images`` and ``masks``."""

    settings: FolderSettings
    name: str
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def description(self) -> str:
        """Licence, and of how many pictures the patient is unknown."""
        pairs, _ = self._found
        unknown = self._unknown
        said = f"{self.name}: {self._licence}"
        if unknown:
            said += f"; patient unknown for {unknown} of {len(pairs)} pictures, each then a group of its own"
        if too_many := self._too_many(unknown):
            said += f"; {too_many}"
        return said + "."

    @cached_property
    def _about(self) -> Mapping[str, Any]:
        return about(self.settings.path)

    @cached_property
    def _licence(self) -> str:
        return licence_of(self.settings, self.settings.path)

    @cached_property
    def _found(self) -> tuple[dict[str, tuple[Path, list[Path]]], list[Path]]:
        pairs, alone = _pairs(self.settings.path)
        return {image.name: (image, masks) for image, masks in pairs}, alone

    @cached_property
    def patients(self) -> Patients:
        """How its patients are known."""
        rule = self._about.get("grouping_rule")
        stated = isinstance(rule, str) and not rule.lower().startswith(("none", "unknown"))
        groups = self._about.get("groups")
        table = {str(k): str(v) for k, v in groups.items()} if isinstance(groups, dict) else {}
        default = habit(self._stems, self._stated) if stated and not table else ""
        return Patients.of(self.name, self.settings, default, table)

    @cached_property
    def _stems(self) -> list[str]:
        return [Path(name).stem for name in self._found[0]]

    @cached_property
    def _stated(self) -> int | None:
        """How many patients ``SOURCE.json`` counts."""
        counts = self._about.get("counts")
        groups = counts.get("groups") if isinstance(counts, dict) else None
        return groups if isinstance(groups, int) else None

    @cached_property
    def _unknown(self) -> int:
        """Pictures without a known patient.

        Raises
        ------
        InputError
            If the configured rule fits none, or gives more patients than ``SOURCE.json`` states: one patient would
            then be in two splits.
        """
        unknown = self.patients.unknown(self._stems)
        too_many = self._too_many(unknown)
        if too_many and self.settings.patient:
            raise InputError(f"source {self.name}: {too_many}")
        return unknown

    def _too_many(self, unknown: int) -> str:
        """What is wrong where more patients are recognised than there are, else an empty text."""
        found = len({self.patients.patient(stem) for stem in self._stems} - {None}) + unknown
        if self._stated is None or found <= self._stated:
            return ""
        return (
            f"{found} patients are recognised in the picture ids, and SOURCE.json counts {self._stated}, so that one "
            f"patient may be taken for several; give the pattern that encloses the patient (patients: {{{self.name}: "
            "PATTERN})"
        )

    def identity(self) -> dict[str, Any]:
        """Names and contents of the pictures, and how they are read."""
        settings = self.settings.model_dump(mode="json", exclude={"path", "patient_table", "aliases", "patients"})
        return {**settings, "name": self.name, "patient": self.patients.identity(), "files": self.digest()}

    def digest(self) -> str:
        """sha256 over the names and contents of the pictures."""
        pairs, alone = self._found
        found = [*(p for image, masks in pairs.values() for p in (image, *masks)), *alone]
        return object_digest([[str(p.relative_to(self.settings.path)), file_digest(p)] for p in found])

    def units(self) -> Iterator[Unit]:
        """One per image, in the order of the names; masks without an image come last."""
        pairs, alone = self._found
        _ = self._unknown  # a rule that does not fit is an error before anything is read
        for name, (image, masks) in pairs.items():
            names = tuple(target_name(mask, image.stem) for mask in masks if mask.stem != image.stem)
            _, modality, site, *_ = (*image.stem.split("_"), "", "")
            yield Unit(name, max(1, len(masks)), names, modality=modality_of(modality)[0], site=site)
        if alone:
            yield Unit("", len(alone))

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """An image with its targets, after the rejects of its masks."""
        pairs, alone = self._found
        if not unit.key:
            yield from (Reject(path.name, "there is no image whose name it begins with") for path in alone)
            return
        image_path, mask_paths = pairs[unit.key]
        try:
            image = read_picture(image_path, read_image)
        except InputError as error:
            yield Reject(image_path.name, str(error), masks=len(mask_paths))
            return
        if not mask_paths:
            reason = "there is no mask that begins with its name, and with no longer image's name"
            yield Reject(image_path.name, reason, masks=0)
            return
        targets: list[Target] = []
        for path in mask_paths:
            try:
                found = _targets(path, image_path.stem, self.settings.values)
            except InputError as error:
                yield Reject(path.name, str(error))
                continue
            if not found:
                yield Reject(path.name, "the mask is empty")
            for name, mask, where in found:
                if mask.shape != image.shape[:2]:
                    rows, cols = image.shape[:2]
                    yield Reject(where, f"the mask is {mask.shape[1]} x {mask.shape[0]}, its image {cols} x {rows}")
                elif first := next((t for t in targets if t.name == name), None):
                    yield Reject(where, f"{first.where} has the target {name!r} of this image already")
                else:
                    targets.append(Target(name, mask, where))
        if targets:
            yield self._picture(image_path, image, tuple(targets))

    def _picture(self, path: Path, image: NDArray[np.uint8], targets: tuple[Target, ...]) -> LabelledImage:
        parts = path.stem.split("_")
        named = len(parts) > 2
        modality, sequence = modality_of(parts[1] if named else self.settings.modality)
        licences = self._about.get("image_licences")
        own = licences.get(parts[0]) if isinstance(licences, dict) else None
        licence = str(own or self._licence)
        return LabelledImage(
            id=path.stem,
            image=image,
            targets=targets,
            modality=modality,
            site=parts[2] if named else self.settings.site,
            group=self.patients.group(path.stem, image),
            origin=SourceRef(self.name, f"images/{path.name}", licence, sequence=sequence),
        )


def _pairs(folder: Path) -> tuple[list[tuple[Path, list[Path]]], list[Path]]:
    """Each image with its masks, and the masks that belong to none.

    A mask belongs to the image with the longest name that it has or begins with: ``case_1_2_liver`` is a mask of
    ``case_1`` only where there is no image ``case_1_2``.
    """
    images, masks = sorted((folder / "images").glob("*.png")), sorted((folder / "masks").glob("*.png"))
    if not images or not masks:
        raise InputError(f"{folder} has no images/*.png and masks/*.png")
    found: dict[str, list[Path]] = {image.stem: [] for image in images}
    alone: list[Path] = []
    for mask in masks:
        stem: str | None = mask.stem
        while stem and stem not in found:
            stem = stem.rpartition("_")[0]
        (found[stem] if stem else alone).append(mask)
    return [(image, found[image.stem]) for image in images], alone


def target_name(mask: Path, stem: str) -> str:
    """The target in a mask's name, for the image of some stem."""
    return " ".join(mask.stem.removeprefix(f"{stem}_").replace("+", " ").split()).lower()


def _targets(path: Path, stem: str, names: Mapping[int, str]) -> list[tuple[str, NDArray[np.bool_], str]]:
    """Name, mask and place of each target of a mask file."""
    values = read_picture(path, read_labels)
    if path.stem != stem:
        mask = values > 0
        return [(target_name(path, stem), mask, path.name)] if mask.any() else []
    found = [int(v) for v in np.unique(values[values > 0])]  # by value: in each picture the same name for one structure
    return [(names.get(v, f"structure {v}"), values == v, f"{path.name} value {v}") for v in found]
