"""Data sets to files: whole or not at all."""

from __future__ import annotations

import os
import uuid
from copy import deepcopy
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from medreasoner_monai.errors import DicomError


def save(dataset: Dataset, path: Path) -> None:
    """Write a DICOM file (PS3.10) beside its final name and rename it; an existing one is replaced.

    Parameters
    ----------
    dataset:
        With the transfer syntax in its ``file_meta``. The file's label names the SOP class and instance that the data
        set has now, whatever its ``file_meta`` says; the data set itself is not changed.

    Raises
    ------
    DicomError
        If it has no transfer syntax, SOP Class UID or SOP Instance UID.
    OSError
        If the file cannot be written; nothing is left behind.
    """
    meta: FileMetaDataset = deepcopy(getattr(dataset, "file_meta", None)) or FileMetaDataset()
    if not isinstance(meta.get("TransferSyntaxUID"), UID) or not (
        dataset.get("SOPClassUID") and dataset.get("SOPInstanceUID")
    ):
        raise DicomError(
            f"{path}: a data set is saved with its transfer syntax, SOP Class UID and SOP Instance UID; one is missing"
        )
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    whole = Dataset()
    whole.update(dataset)
    whole.file_meta = meta
    implicit, little = dataset.original_encoding
    whole.set_original_encoding(implicit, little, dataset.original_character_set)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.partial")
    try:
        with temporary.open("wb") as file:
            whole.save_as(file, enforce_file_format=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
