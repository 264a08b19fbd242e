"""A local datastore of DICOM series: every folder below the studies that holds DICOM files is an image."""

from __future__ import annotations

from pathlib import Path

from monailabel.datastore.local import LocalDatastore

from medreasoner_monai.dicom.files import is_dicom


class SeriesFolders(LocalDatastore):  # type: ignore[misc]  # MONAI Label has no type information
    """MONAI Label's local datastore, which lists files by their suffix, with folders of DICOM files as images too.

    A folder's name is the image's id, and its labels are saved as those of any image. Folders that are added later are
    seen when the server starts again.
    """

    def _list_files(self, path: str, patterns: list[str]) -> dict[str, str]:
        found: dict[str, str] = super()._list_files(path, patterns)
        if Path(path).resolve() == Path(self._datastore.image_path()).resolve():
            found |= {f.name: f.name for f in sorted(Path(path).iterdir()) if f.is_dir() and _holds_dicom(f)}
        return found

    def _to_id(self, file: str) -> tuple[str, str]:
        # A series UID looks like a name with suffixes.
        if (Path(self._datastore.image_path()) / file).is_dir():
            return file, ""
        name, suffix = super()._to_id(file)
        return name, suffix


def _holds_dicom(folder: Path) -> bool:
    return any(file.is_file() and is_dicom(file) for file in folder.iterdir())
