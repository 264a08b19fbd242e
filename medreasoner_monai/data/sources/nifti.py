"""NIfTI and NRRD volumes with label maps: slices are taken by the area of the targets and the distance between them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from medreasoner_monai.data.labelled import LabelledImage, Target
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sample import SourceRef
from medreasoner_monai.data.sources.licences import licence_of
from medreasoner_monai.data.sources.modality import modality_of
from medreasoner_monai.data.sources.nifti_layout import About, Case, find_cases, read_about, stem_of
from medreasoner_monai.data.sources.nifti_volume import Volume, same_grid, skewed
from medreasoner_monai.data.sources.nrrd_volume import Labelled, data_file, open_labels, open_volume, same_place
from medreasoner_monai.data.sources.patients import Patients
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.rendering import described
from medreasoner_monai.data.sources.slicing import choose
from medreasoner_monai.dicom.rules import Rule, parse_rule
from medreasoner_monai.errors import DicomError, InputError
from medreasoner_monai.files import object_digest, remembered_digest
from medreasoner_monai.settings.sources import NiftiSettings

_ALONE = ":labels"
_CODES = {"MRI": "MR", "CT": "CT", "PET": "PT"}
Masks = dict[str, NDArray[np.bool_]]


@dataclass(frozen=True)
class NiftiSource:
    """A folder of volumes and label maps; a unit is a volume."""

    settings: NiftiSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it, else that of the folder."""
        return self.settings.name or self.settings.path.resolve().name

    @property
    def description(self) -> str:
        """Licence and number of volumes."""
        return f"{self.name}: {len(self._found[0])} volumes; {self._licence}."

    @cached_property
    def _licence(self) -> str:
        return licence_of(self.settings, self.settings.path, self._about.licence)

    @cached_property
    def _about(self) -> About:
        return read_about(self.settings.path)

    @cached_property
    def _found(self) -> tuple[dict[str, Case], dict[Path, str]]:
        cases, alone = find_cases(self.settings)
        return {case.name: case for case in cases}, alone

    @cached_property
    def _rule(self) -> Rule:
        return parse_rule(self.settings.rule)

    @cached_property
    def _labels(self) -> dict[str, tuple[int, ...]]:
        """The values that make up each target."""
        if self.settings.labels:
            return {name.lower().replace("_", " "): (value,) for value, name in self.settings.labels.items() if value}
        return dict(self._about.labels)

    def identity(self) -> dict[str, Any]:
        """Settings, and the contents of the files."""
        cases, alone = self._found
        files = [*alone, *([tables] if (tables := self.settings.path / "dataset.json").is_file() else [])]
        for case in cases.values():
            files += [case.image, *_files(case.labels)]
        files += [more for p in files if p.is_file() and (more := data_file(p))]
        root = self.settings.path
        stated = [[str(p.relative_to(root)), remembered_digest(p)] for p in sorted(files) if p.is_file()]
        settings = self.settings.model_dump(mode="json", exclude={"path", "patient_table", "aliases"})
        return {**settings, "name": self.name, "patient": self._patients.identity(), "files": object_digest(stated)}

    @cached_property
    def _patients(self) -> Patients:
        return Patients.of(self.name, self.settings)

    def units(self) -> Iterator[Unit]:
        """One per volume, in the order of the names; files that belong to none come last."""
        cases, alone = self._found
        self._patients.unknown(cases)
        for name, case in cases.items():
            files = len(_files(case.labels))
            yield Unit(name, max(1, len(self._labels) if files < 2 else files) * len(self.settings.planes))
        if alone:
            yield Unit(_ALONE, len(alone))

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """The chosen slices of a volume, plane by plane, after the rejects of its labels."""
        cases, alone = self._found
        if unit.key == _ALONE:
            yield from (Reject(self._place(path), reason) for path, reason in alone.items())
            return
        case = cases[unit.key]
        where = str(case.image.relative_to(self.settings.path))
        if case.labels is None:
            yield Reject(where, "there is no label map of its name", masks=0)
            return
        try:
            channel = self.settings.channel if case.channel is None else 0
            volume = open_volume(case.image, channel)
        except InputError as error:
            yield Reject(where, str(error), masks=max(1, len(_files(case.labels))))
            return
        masks: Masks = {}
        names = set(self._labels)
        for found in self._masks(case.labels, volume):
            if isinstance(found, Reject):
                yield found
                continue
            name, mask = found
            if case.labels.is_dir() or mask.any():
                masks[name] = mask
            if case.labels.is_file():  # a segmentation may name what it does not show
                names.add(name)
        if masks:
            reader = _Reader(self, case, volume, masks, where, frozenset(names))
            for plane in dict.fromkeys(volume.acquired if p == "acquired" else p for p in self.settings.planes):
                yield from reader.pictures(plane)

    def _masks(self, labels: Path, volume: Volume) -> Iterator[tuple[str, NDArray[np.bool_]] | Reject]:
        """Each target's mask in the volume's grid, ``(I, J, K)``."""
        if labels.is_dir():
            for path in _files(labels):
                name = (stem_of(path) or path.stem).replace("_", " ").lower()
                try:
                    yield name, _label_values(path, volume)[0] > 0
                except InputError as error:
                    yield Reject(self._place(path), str(error))
            return
        try:
            values, names = _label_values(labels, volume)
        except InputError as error:
            yield Reject(self._place(labels), str(error))
            return
        names = self._labels or names
        named = {value for values_of in names.values() for value in values_of}
        for value in (int(v) for v in np.unique(values) if v and int(v) not in named):
            yield Reject(
                f"{self._place(labels)} label {value}",
                f"label {value} has no name; name it in the config (labels: {{{value}: NAME}}) or in dataset.json",
            )
        for name, values_of in names.items():
            yield name, np.isin(values, values_of)

    def _place(self, path: Path) -> str:
        return str(path.relative_to(self.settings.path))


@dataclass(frozen=True)
class _Reader:
    """One volume's slices."""

    source: NiftiSource
    case: Case
    volume: Volume
    masks: Masks = field(repr=False)
    where: str
    names: frozenset[str]

    def pictures(self, plane: str) -> Iterator[LabelledImage | Reject]:
        """The chosen slices of a plane."""
        volume, settings = self.volume, self.source.settings
        spacing = volume.pixel(plane)
        long = max(spacing.row, spacing.column) / min(spacing.row, spacing.column)
        if long > settings.max_anisotropy or skewed(volume, plane):
            why = "its rows and columns are not perpendicular"
            if long > settings.max_anisotropy:
                size = f"{spacing.row:.2f} x {spacing.column:.2f} mm"
                why = f"its pixels are {size} (max_anisotropy: {settings.max_anisotropy:g})"
            yield Reject(f"{self.where} {plane}", f"the {plane} plane is not taken: {why}", masks=len(self.masks))
            return
        axis = volume.axis_of[plane]
        others = tuple(a for a in range(3) if a != axis)
        pixel = spacing.row * spacing.column
        areas = {name: mask.sum(axis=others) * pixel for name, mask in self.masks.items()}
        chosen = choose(areas, volume.heights(plane), settings.slices)
        for name, area in chosen.lost.items():
            yield Reject(
                f"{self.where} {plane} {name}",
                f"no {plane} slice shows at least {settings.slices.min_area_mm2:g} mm² of it; the largest area is "
                f"{area:.1f} mm² (slices.min_area_mm2)",
            )
        for index in chosen.indices:
            yield self._picture(plane, index, {n: np.take(m, index, axis=axis) for n, m in self.masks.items()})

    def _picture(self, plane: str, index: int, masks: Masks) -> LabelledImage | Reject:
        source, settings = self.source, self.source.settings
        word = settings.modality or source._about.channels.get(self.case.channel or settings.channel, "")
        modality, sequence = _modality(word)
        shown = {name: mask for name, mask in masks.items() if mask.any()}
        where = f"{self.where} {plane} {index}"
        try:
            view = self.volume.view(plane, index, source._rule, _CODES.get(modality, ""))
        except (InputError, DicomError) as error:
            return Reject(where, str(error), masks=len(shown))
        name = f"{self.case.name}-{plane}-{index:04}"
        targets = tuple(
            Target(target, np.ascontiguousarray(view.orientation.turn(mask)), f"{where} {target}")
            for target, mask in shown.items()
        )
        assert view.spacing is not None
        patient = source._patients.patient(self.case.name)
        return LabelledImage(
            id=name,
            image=view.pixels,
            targets=targets,
            modality=modality,
            site=settings.site,
            group=source._patients.named(patient or self.case.name),  # slices of a volume stay together
            origin=described(SourceRef(source.name, self.where, source._licence, sequence=sequence), view),
            spacing=(view.spacing.row, view.spacing.column),
            labelled=self.names if settings.complete else frozenset(),
            stored=view.values,
        )


def _modality(word: str) -> tuple[str, str]:
    """As the taxonomy writes it; MSD and nnU-Net name MR channels by their sequence alone."""
    modality, sequence = modality_of(word)
    if modality in _CODES or not word:
        return modality, sequence
    if any(part in word.lower() for part in ("t1", "t2", "flair", "adc", "dwi", "mri")):
        return "MRI", word
    return modality, sequence


def _label_values(path: Path, volume: Volume) -> tuple[NDArray[Any], Mapping[str, tuple[int, ...]]]:
    """Labels on the image's grid, ``(I, J, K)``; and the values of each name that the file itself has."""
    given = open_labels(path)
    values = _on_grid(given, volume, path.name)
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and (values == np.round(values)).all()):
            raise InputError(f"{path.name} holds values that are no whole numbers; a label map was expected")
        values = values.astype(np.int64)
    if (values < 0).any():
        raise InputError(f"{path.name} holds negative labels")
    return values, given.names


def _on_grid(given: Labelled, volume: Volume, name: str) -> NDArray[Any]:
    found = given.volume
    if same_grid(found, volume):
        return found.stored if (found.slope, found.inter) == (1, 0) else found.stored * found.slope + found.inter
    if given.cropped and (values := same_place(given, volume)) is not None:
        return values
    if found.stored.shape != volume.stored.shape:
        shapes = [" x ".join(map(str, v.stored.shape)) for v in (found, volume)]
        raise InputError(f"{name} has {shapes[0]} voxels, its image {shapes[1]}")
    raise InputError(f"{name} lies elsewhere than its image (another affine); resample it to the image's grid")


def _files(labels: Path | None) -> list[Path]:
    if labels is None:
        return []
    return [p for p in sorted(labels.glob("*")) if stem_of(p)] if labels.is_dir() else [labels]
