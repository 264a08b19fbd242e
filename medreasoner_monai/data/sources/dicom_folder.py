"""A folder tree of DICOM files: series with DICOM-SEG and RTSTRUCT, whatever the files are called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydicom import Dataset, dcmread

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources.dicom_index import Index, MadeFile, index
from medreasoner_monai.data.sources.licences import licence_of
from medreasoner_monai.data.sources.outlined_series import Made, SeriesReader
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.data.sources.pseudonyms import Pseudonyms
from medreasoner_monai.dicom.files import read_header
from medreasoner_monai.dicom.series import found_among
from medreasoner_monai.dicom.set_aside import read_each
from medreasoner_monai.errors import DicomError
from medreasoner_monai.files import object_digest, remembered_digest
from medreasoner_monai.settings.sources import DicomSettings

_LOST = ":lost"


@dataclass(frozen=True)
class DicomSource:
    """A folder tree; a unit is an image series with what was made on it."""

    settings: DicomSettings
    inline: ClassVar[bool] = False
    synthetic: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """As the config names it, else that of the folder."""
        return self.settings.name or self.settings.path.resolve().name

    @property
    def description(self) -> str:
        """Licence, series, and how many images have no outlines."""
        licence = licence_of(self.settings, self.settings.path)
        said = f"{self.name}: {len(self._index.images)} DICOM series with outlines; {licence}"
        return said + (f"; {self._index.plain} series without outlines left out." if self._index.plain else ".")

    @cached_property
    def _index(self) -> Index:
        return index(self.settings.path)

    @cached_property
    def _patients(self) -> Pseudonyms:
        return Pseudonyms(self.name, self.settings)

    def identity(self) -> dict[str, Any]:
        """Settings, and the contents of the files that are read."""
        found = self._index
        paths = [p for files in found.images.values() for p in files]
        paths += [m.path for made in found.made.values() for m in made]
        files = [
            [p, remembered_digest(self.settings.path / p)] for p in sorted({*paths, *(r.where for r in found.lost)})
        ]
        settings = self.settings.model_dump(mode="json", exclude={"path", "aliases"})
        return {**settings, "name": self.name, "patients": self._patients.identity(), "files": object_digest(files)}

    def units(self) -> Iterator[Unit]:
        """One per series that has outlines, by UID; what belongs to no series comes last."""
        found = self._index
        for uid in found.images:
            yield Unit(uid, sum(made.masks for made in found.made[uid]))
        if found.lost:
            yield Unit(_LOST, sum(reject.masks for reject in found.lost))

    def read(self, unit: Unit) -> Iterator[LabelledImage | Reject]:
        """The chosen slices of a series, after the rejects."""
        if unit.key == _LOST:
            yield from self._index.lost
            return
        root = self.settings.path
        paths, files = self._index.images[unit.key], self._index.made[unit.key]
        where = Path(paths[0]).parent.as_posix()
        try:
            found = found_among(read_each([root / p for p in paths], read_header), where)
        except DicomError as error:
            yield Reject(where, str(error), masks=sum(f.masks for f in files))
            return
        made: list[Made] = []
        for file in files:
            try:
                made.append(Made(_read(root / file.path), file.path, file.masks))
            except DicomError as error:
                yield _unreadable(file, error)
        licence = licence_of(self.settings, root)
        yield from SeriesReader(self.name, licence, self.settings, self._patients).read(found, made)


def _read(path: Path) -> Dataset:
    """A structure set, or a segmentation whose frames stay in the file until they are looked at."""
    try:
        header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=["Modality", "Rows", "Columns"])
        if str(header.Modality) == "RTSTRUCT":
            return dcmread(path, force=True)
        import highdicom as hd

        # highdicom 0.28 cannot fetch single frames of bits that do not begin at a byte.
        return hd.seg.segread(path, lazy_frame_retrieval=header.Rows * header.Columns % 8 == 0)
    except Exception as error:  # pydicom and highdicom raise many kinds on damaged files
        raise DicomError(f"cannot be read ({type(error).__name__}: {str(error)[:120]}); export it again") from error


def _unreadable(file: MadeFile, error: DicomError) -> Reject:
    return Reject(file.path, str(error), masks=file.masks)
