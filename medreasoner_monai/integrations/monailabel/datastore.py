"""DICOM series in MONAI Label's datastores: folders of files, and what a DICOMweb archive keeps."""

from __future__ import annotations

import shutil
from pathlib import Path

from fastapi import HTTPException
from monailabel.datastore.dicom import DICOMWebDatastore
from monailabel.datastore.local import LocalDatastore
from requests.exceptions import RequestException

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


def fetch(store: DICOMWebDatastore, uid: str) -> None:
    """Have a series of an archive in the store's cache.

    When a series is asked for the first time, the store gives the address of a temporary copy, whose place tells
    nothing of the DICOM files and which nobody deletes. Afterwards it gives that of its own.

    Raises
    ------
    HTTPException
        With status 404 where the archive has no such series, with 502 where it does not answer.
    """
    folder = Path(store._datastore.image_path()) / uid
    try:
        first = Path(store.get_image_uri(uid))
    except IndexError:
        raise HTTPException(404, detail=f"the archive has no series {uid}") from None
    except RequestException as error:
        # What has come so far would be taken for the whole series next time.
        shutil.rmtree(folder, ignore_errors=True)
        raise HTTPException(502, detail=f"the archive does not answer ({type(error).__name__})") from None
    if first != folder and first != Path(store.get_image_uri(uid)):
        first.unlink(missing_ok=True)


def _holds_dicom(folder: Path) -> bool:
    return any(file.is_file() and is_dicom(file) for file in folder.iterdir())
