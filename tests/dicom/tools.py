"""What the DICOM tests share: example files, made series, and outside checkers that may be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT_FOLDER = Path(__file__).parents[3] / "shared/data/ct_abdomen_dicom"


def carried(name: str) -> Path:
    """A test file that lies inside the pydicom package; never downloads one."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom does not carry {name}"
    return Path(path)


def need_ct() -> Path:
    """The real abdominal CT."""
    if not CT_FOLDER.is_dir():
        pytest.skip("the real CT is not beside the repository (../shared/data/ct_abdomen_dicom)")
    return CT_FOLDER


def need_tool(name: str, package: str) -> str:
    """Path of an outside checker; without it the test is skipped, on CI it fails."""
    beside = Path(os.sys.executable).with_name(name)  # type: ignore[attr-defined]
    path = str(beside) if beside.exists() else shutil.which(name)
    if path is None:
        message = f"{name} is not installed; it comes with {package}"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return path


def dciodvfy_errors(path: Path) -> list[str]:
    """The validator's error lines for a file."""
    tool = need_tool("dciodvfy", "apt-get install dicom3tools")
    done = subprocess.run([tool, "-new", str(path)], capture_output=True, text=True, timeout=60)
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def make_ct(
    folder: Path,
    slices: int = 4,
    *,
    series_uid: str | None = None,
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    spacing: tuple[float, float] = (0.8, 0.8),
    gap: float = 2.5,
    shape: tuple[int, int] = (24, 32),
) -> list[Path]:
    """Write a small CT, file names and instance numbers in an order that is not the slices' order.

    Slice ``i`` (in space) is filled with the stored value ``1000 + 10 i`` and has a brighter square.
    """
    folder.mkdir(parents=True, exist_ok=True)
    template = dcmread(carried("CT_small.dcm"))
    uid = series_uid or generate_uid(prefix=None)
    frame, study = generate_uid(prefix=None), generate_uid(prefix=None)
    normal = np.cross(orientation[:3], orientation[3:])
    paths = []
    for i in range(slices):
        dataset = Dataset()
        dataset.update(template)
        dataset.file_meta = template.file_meta
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uid, study, frame
        dataset.InstanceNumber = slices - i
        dataset.ImageOrientationPatient = list(orientation)
        dataset.ImagePositionPatient = [round(float(v), 6) for v in np.array([-10, 20, 30]) + i * gap * normal]
        dataset.PixelSpacing = list(spacing)
        dataset.SliceThickness = gap
        dataset.Rows, dataset.Columns = shape
        pixels = np.full(shape, 1000 + 10 * i, dtype=np.int16)
        pixels[6:18, 8:24] += 100
        dataset.PixelData = pixels.tobytes()
        path = folder / f"file{(i * 7 + 3) % 10}{i}"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def make_xray(path: Path, photometric: str = "MONOCHROME2") -> Path:
    """Write a digital X-ray: one image without a frame of reference."""
    template = dcmread(carried("CT_small.dcm"))
    dataset = Dataset()
    for keyword in ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
        dataset[keyword] = template[keyword]
    dataset.file_meta = template.file_meta
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    dataset.Modality, dataset.StudyTime, dataset.StudyID = "DX", "101010", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.SeriesNumber = "", "", 3
    dataset.ImagerPixelSpacing = [0.14, 0.14]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, photometric
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 30, 20, 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PixelData = np.linspace(0, 4095, 600).astype(np.uint16).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path
