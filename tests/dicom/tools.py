"""What the DICOM tests share: example files, made series, and outside checkers that may be missing."""

from __future__ import annotations

import os
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medreasoner_monai.dicom.display import render_frame
from medreasoner_monai.dicom.files import FileSource
from medreasoner_monai.dicom.series import Series

CT_FOLDER = Path(__file__).parents[3] / "shared/data/ct_abdomen_dicom"


def carried(name: str) -> Path:
    """A test file that lies inside the pydicom package; never downloads one."""
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"pydicom does not carry {name}"
    return Path(path)


def paths_of(series: Series) -> list[Path]:
    """The files of a series, in slice order."""
    return [source.path for source in series.sources if isinstance(source, FileSource)]


def render_slice(dataset: Dataset, frame: int = 0) -> np.ndarray:
    """The picture of one frame by the default rule."""
    return render_frame(dataset, frame)[0]


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


def make_enhanced(path: Path, heights: tuple[float, ...] = (0, 5, 2.5), shape: tuple[int, int] = (24, 32)) -> Path:
    """Write an enhanced CT whose frames lie at ``heights`` (mm), by default not in the order of space.

    The frame at height ``z`` is filled with the stored value ``1000 + 4 z``; all share spacing and orientation, and
    each has its own rescale intercept and window.
    """
    template = dcmread(carried("CT_small.dcm"))
    dataset = Dataset()
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        dataset[keyword] = template[keyword]
    dataset.file_meta = template.file_meta
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = generate_uid(prefix=None), generate_uid(prefix=None)
    dataset.FrameOfReferenceUID, dataset.Modality = generate_uid(prefix=None), "CT"
    dataset.AccessionNumber, dataset.ReferringPhysicianName = "", ""
    dataset.SeriesNumber, dataset.InstanceNumber = 4, 1
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    _pixels(dataset, np.stack([np.full(shape, 1000 + 4 * z, np.uint16) for z in heights]))
    shared = Dataset()
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [Dataset()], [Dataset()]
    shared.PixelMeasuresSequence[0].PixelSpacing = [0.5, 1.25]
    shared.PixelMeasuresSequence[0].SliceThickness = 2.5
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SharedFunctionalGroupsSequence = [shared]
    dataset.PerFrameFunctionalGroupsSequence = [_frame_groups(z) for z in heights]
    dataset.save_as(path, enforce_file_format=True)
    return path


def _frame_groups(height: float) -> Dataset:
    item = Dataset()
    for group in ("PlanePositionSequence", "PixelValueTransformationSequence", "FrameVOILUTSequence"):
        setattr(item, group, [Dataset()])
    item.PlanePositionSequence[0].ImagePositionPatient = [-10, 20, height]
    rescale, window = item.PixelValueTransformationSequence[0], item.FrameVOILUTSequence[0]
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = 1, -1000 - 2 * height, "HU"
    window.WindowCenter, window.WindowWidth = 40, 200 + height
    return item


def make_clip(path: Path, frames: int = 4, shape: tuple[int, int] = (20, 28)) -> Path:
    """Write an ultrasound clip: RGB frames, each brighter than the one before, without places in space."""
    dataset = dcmread(make_xray(path))
    for keyword in ("ImagerPixelSpacing", "WindowCenter", "WindowWidth"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.3.1"
    dataset.Modality = "US"
    pixels = np.zeros((frames, *shape, 3), np.uint8)
    pixels += (np.arange(frames, dtype=np.uint8) * 40)[:, None, None, None]
    pixels[..., 4:10, 6:20, 0] += 90
    _pixels(dataset, pixels)
    dataset.save_as(path, enforce_file_format=True)
    return path


def _pixels(dataset: Dataset, pixels: np.ndarray) -> None:
    """Fill the image pixel module: ``(frames, rows, columns)`` grey, or ``(frames, rows, columns, 3)`` RGB."""
    colour = pixels.ndim == 4
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, 0
    dataset.PixelData = pixels.tobytes() + bytes(pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB" if pixels.dtype == np.uint8 else "OW"


def recoded(source: Path, target: Path, syntax: int) -> Path:
    """The image in another transfer syntax, written by GDCM."""
    import gdcm

    reader, change, writer = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax(), gdcm.ImageWriter()
    reader.SetFileName(str(source))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target


def saved(dataset: Dataset, path: Path) -> Path:
    """Write a data set as it is, with what pydicom would warn of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset.save_as(path)
    return path
