"""A made CT on disk, for benchmarks of what reads and writes DICOM."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid


def write_ct(folder: Path, slices: Iterable[NDArray[Any]], *, gap: float) -> None:
    """Write one file a slice.

    Parameters
    ----------
    slices:
        Stored values ``(rows, columns)``, 0 to 4095, which are Hounsfield units plus 1024.
    gap:
        Millimetres between slices.
    """
    study, series, frame = (generate_uid(prefix=None) for _ in range(3))
    for i, pixels in enumerate(slices):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = CTImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
        image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
        image.SpecificCharacterSet, image.ImageType = "ISO_IR 192", ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = "Nobody", "0", "", ""
        image.StudyDate = image.StudyTime = image.StudyID = image.AccessionNumber = image.ReferringPhysicianName = ""
        image.Modality, image.SeriesNumber, image.InstanceNumber = "CT", 1, i + 1
        image.Manufacturer = image.PositionReferenceIndicator = ""
        image.ImageOrientationPatient, image.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-180, -180, gap * i]
        image.PixelSpacing, image.SliceThickness = [0.7, 0.7], gap
        image.Rows, image.Columns = pixels.shape
        image.SamplesPerPixel, image.PhotometricInterpretation, image.PixelRepresentation = 1, "MONOCHROME2", 0
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 12, 11
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = 1, -1024, "HU"
        image.PixelData = np.asarray(pixels, dtype=np.uint16).tobytes()
        image.save_as(folder / f"{i:04}.dcm", enforce_file_format=True)
