"""Pictures and masks under any names, as a mapping file lists them."""

from __future__ import annotations

from collections.abc import Iterator
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
from medreasoner_monai.data.sources.licences import licence_of
from medreasoner_monai.data.sources.mapping_file import Row, read_mapping
from medreasoner_monai.data.sources.modality import modality_of
from medreasoner_monai.data.sources.patients import Patients
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.reading import inside, read_picture
from medreasoner_monai.errors import InputError
from medreasoner_monai.files import file_digest, object_digest, remembered_digest
from medreasoner_monai.settings.sources import MappedSettings


@dataclass(frozen=True)
class MappedSource:
    """A folder and a mapping file; a unit is a picture."""

    settings: MappedSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it, else that of the folder."""
        return self.settings.name or self.settings.path.resolve().name

    @property
    def description(self) -> str:
        """Licence, and of how many pictures the patient is unknown."""
        unknown = self._unknown
        said = f"{self.name}: {self._licence}"
        if unknown:
            said += f"; patient unknown for {unknown} of {len(self._rows)} pictures, each then a group of its own"
        return said + "."

    @cached_property
    def _licence(self) -> str:
        return licence_of(self.settings, self.settings.path)

    @cached_property
    def _rows(self) -> dict[str, list[Row]]:
        found: dict[str, list[Row]] = {}
        for row in read_mapping(self.settings.mapping):
            found.setdefault(row.image, []).append(row)
        return found

    @cached_property
    def _patients(self) -> Patients:
        return Patients.of(self.name, self.settings)

    @cached_property
    def _unknown(self) -> int:
        unstated = [_id(image) for image, rows in self._rows.items() if not any(row.patient for row in rows)]
        return self._patients.unknown(unstated)

    @cached_property
    def _names(self) -> frozenset[str]:
        return frozenset(name for rows in self._rows.values() for row in rows for name in row.targets.values())

    def identity(self) -> dict[str, Any]:
        """Settings, the mapping, and the contents of the files it names."""
        names = sorted({n for rows in self._rows.values() for row in rows for n in (row.image, row.mask) if n})
        settings = self.settings.model_dump(mode="json", exclude={"path", "mapping", "patient_table", "aliases"})
        return {
            **settings,
            "name": self.name,
            "mapping": file_digest(self.settings.mapping),
            "patient": self._patients.identity(),
            "files": object_digest([[name, self._content(name)] for name in names]),
        }

    def _content(self, name: str) -> str:
        try:
            return remembered_digest(inside(self.settings.path, name))
        except (InputError, OSError):
            return ""  # it becomes a reject

    def units(self) -> Iterator[Unit]:
        """One per picture, in the order of the mapping."""
        _ = self._unknown  # a rule that does not fit is an error before anything is read
        for image, rows in self._rows.items():
            yield Unit(image, max(1, sum(len(row.targets) for row in rows)))

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """A picture with its targets, after the rejects of its masks."""
        rows = self._rows[unit.key]
        masks = sum(len(row.targets) for row in rows)
        patients = {row.patient for row in rows if row.patient}
        spacings = {row.spacing for row in rows if row.spacing}
        if len(patients) > 1 or len(spacings) > 1:
            yield Reject(unit.key, f"{rows[0].where}: rows of one image state two patients or spacings", masks=masks)
            return
        try:
            image = read_picture(inside(self.settings.path, unit.key), read_image)
        except InputError as error:
            yield Reject(unit.key, f"{rows[0].where}: {error}", masks=masks)
            return
        targets: list[Target] = []
        for row in rows:
            for found in self._targets(row, image):
                if isinstance(found, Target) and any(t.where == found.where for t in targets):
                    found = Reject(found.where, f"{row.where}: the mapping names this mask twice")
                elif isinstance(found, Target) and (first := next((t for t in targets if t.name == found.name), None)):
                    found = Reject(found.where, f"{first.where} has the target {found.name!r} of this image already")
                if isinstance(found, Reject):
                    yield found
                else:
                    targets.append(found)
        if targets or (self.settings.complete and not masks):
            yield self._picture(unit.key, rows, image, tuple(targets), next(iter(patients), None))
        elif not masks:
            yield Reject(unit.key, "it has no mask, and `complete` does not say that it shows no target", masks=0)

    def _targets(self, row: Row, image: NDArray[np.uint8]) -> Iterator[Target | Reject]:
        if not row.mask:
            return
        try:
            values = read_picture(inside(self.settings.path, row.mask), read_labels)
        except InputError as error:
            yield Reject(row.mask, f"{row.where}: {error}", masks=len(row.targets))
            return
        if values.shape != image.shape[:2]:
            (rows, cols), (r, c) = image.shape[:2], values.shape
            reason = f"{row.where}: the mask is {c} x {r}, its image {cols} x {rows}"
            yield Reject(row.mask, reason, masks=len(row.targets))
            return
        for value, name in row.targets.items():
            mask = values > 0 if value is None else values == value
            where = row.mask if value is None else f"{row.mask} value {value}"
            if mask.any():
                yield Target(name, mask, where)
            else:
                yield Reject(where, f"{row.where}: the mask is empty")

    def _picture(
        self, name: str, rows: list[Row], image: NDArray[np.uint8], targets: tuple[Target, ...], patient: str | None
    ) -> LabelledImage:
        def stated(key: str) -> str:
            return next((value for row in rows if (value := str(getattr(row, key)))), "")

        modality, sequence = modality_of(stated("modality") or self.settings.modality)
        return LabelledImage(
            id=_id(name),
            image=image,
            targets=targets,
            modality=modality,
            site=stated("site") or self.settings.site,
            group=self._patients.group(_id(name), image, patient),
            origin=SourceRef(self.name, name, stated("licence") or self._licence, sequence=sequence),
            spacing=next((row.spacing for row in rows if row.spacing), None),
            labelled=self._names if self.settings.complete else frozenset(),
        )


def _id(image: str) -> str:
    """The path without its ending: names in two folders of a source may be equal."""
    return Path(image).with_suffix("").as_posix()
