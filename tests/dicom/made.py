"""More made sources for the tests of what is written: clips, photographs, enhanced images; and made findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from medreasoner_monai.dicom.capture import build_capture
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import SegKind, build_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.findings import Engine, Finding, Origin, SliceResult
from medreasoner_monai.task.geometry import Box, Frame, Points
from medreasoner_monai.task.taxonomy import Codes
from tests.dicom.tools import carried, make_ct, make_xray

ORIGIN = Origin(
    Engine("starter", "a1" * 32),
    Engine("classical", "b2" * 32),
    prompt_digest="c3" * 32,
    model_version="0.3.1",
    reward_digest="d4" * 32,
    dataset_digest="e5" * 32,
)
QUESTION = "Which organ filters the blood that comes from the gut?"
TRACE = "A large bright structure on the left side of the image."


def a_finding(
    series: Series,
    masks: Mapping[int, np.ndarray],
    *,
    key: int | None = None,
    question: str = QUESTION,
    trace: str | None = TRACE,
    codes: Codes | None = None,
    confidence: float | None = None,
    **more: Any,
) -> Finding:
    """A found finding with these masks by slice; box and points stand on the key slice."""
    _, rows, columns = series.shape
    frame = Frame(columns, rows, "dicom")
    grounding = Grounding(
        trace,
        Box(1.5, 2.25, columns - 3, rows - 4, frame),
        Points((columns / 4, rows / 4), (columns / 2, rows / 2 + 0.5), frame),
    )
    slices = tuple(SliceResult(i, grounding, "", mask, 0.1, confidence) for i, mask in sorted(masks.items()))
    if confidence is not None:
        more.setdefault("confidence_kind", "agreement")
    chosen = key if key is not None else max(masks, key=lambda i: int(masks[i].sum()))
    return Finding(question, slices, chosen, str(generate_uid(prefix=None)), codes, **more)


def nothing_found(
    series: Series, indices: Sequence[int], reason: str = "the model found nothing", **more: Any
) -> Finding:
    """A finding without a region."""
    slices = tuple(SliceResult(i, None, reason, None, 0.1) for i in indices)
    return Finding(QUESTION, slices, indices[0], str(generate_uid(prefix=None)), **more)


def abstained(series: Series, index: int) -> Finding:
    """A finding whose only region was too unsure to give."""
    one = SliceResult(index, None, "not sure enough to answer", None, 0.1, confidence=0.2, unsure=True)
    return Finding(QUESTION, (one,), index, str(generate_uid(prefix=None)))


def a_mask(series: Series, top: int = 2, bottom: int = 9, left: int = 3, right: int = 7) -> np.ndarray:
    """A rectangle on one slice, ``(rows, columns)``."""
    mask = np.zeros(series.shape[1:], dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def make_series(kind: str, folder: Path) -> Series:
    """A series of one of :data:`KINDS`."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "CT, three slices":
        make_ct(folder / "ct", 3)
        return choose_series(folder / "ct")
    if kind == "CT, oblique and not square":
        make_ct(folder / "ct", 4, orientation=(1, 0, 0, 0, 0.8, 0.6), spacing=(0.5, 1.25))
        return choose_series(folder / "ct")
    if kind == "CT, enhanced":
        return choose_series(make_enhanced(folder))
    if kind == "MR":
        return choose_series(carried("MR_small_implicit.dcm"))
    if kind == "DX":
        return choose_series(make_xray(folder / "dx.dcm"))
    if kind == "CR":
        return choose_series(make_photograph(folder / "cr.dcm", "CR", "1.2.840.10008.5.1.4.1.1.1", colour=False))
    if kind == "US, clip":
        return choose_series(make_clip(folder / "clip.dcm"))
    if kind == "US, RGB":
        return choose_series(carried("examples_rgb_color.dcm"))
    if kind == "ES":
        return choose_series(make_photograph(folder / "es.dcm", "ES", "1.2.840.10008.5.1.4.1.1.77.1.1"))
    assert kind == "XC, two photographs"
    series_uid, study_uid = generate_uid(prefix=None), generate_uid(prefix=None)
    for number in (1, 2):
        path = folder / f"xc{number}.dcm"
        make_photograph(path, "XC", "1.2.840.10008.5.1.4.1.1.77.1.4", number, series_uid, study_uid)
    return choose_series(folder)


KINDS = (
    "CT, three slices",
    "CT, oblique and not square",
    "CT, enhanced",
    "MR",
    "DX",
    "CR",
    "US, clip",
    "US, RGB",
    "ES",
    "XC, two photographs",
)


def make_enhanced(folder: Path, frames: int = 3) -> Path:
    """A CT as one legacy converted enhanced image."""
    make_ct(folder / "single", frames)
    single = choose_series(folder / "single")
    enhanced = hd.legacy.LegacyConvertedEnhancedCTImage(
        legacy_datasets=[single.load(i)[0] for i in range(frames)],
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
    )
    enhanced.save_as(folder / "enhanced.dcm")
    return folder / "enhanced.dcm"


def make_photograph(
    path: Path,
    modality: str,
    sop_class: str,
    number: int = 1,
    series_uid: str | None = None,
    study_uid: str | None = None,
    *,
    colour: bool = True,
) -> Path:
    """One 24 x 32 picture without any position: endoscopy, a photograph or, grey, an old X-ray."""
    dataset = _base(modality, sop_class, series_uid, study_uid)
    dataset.InstanceNumber = number
    rng = np.random.default_rng(number)
    if colour:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
    else:
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        pixels = rng.integers(0, 256, (24, 32), dtype=np.uint8)
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def make_clip(path: Path, frames: int = 5) -> Path:
    """An ultrasound clip in RGB; half of each frame is a region calibrated at 0.05 cm across and 0.04 cm down."""
    dataset = _base("US", "1.2.840.10008.5.1.4.1.1.3.1")
    dataset.InstanceNumber = 1
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PlanarConfiguration = 3, "RGB", 0
    dataset.NumberOfFrames, dataset.FrameTime = frames, 40
    dataset.FrameIncrementPointer = 0x00181063
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = 1, 1, 0
    region.RegionLocationMinX0, region.RegionLocationMinY0 = 0, 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = 15, 23
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
    region.PhysicalDeltaX, region.PhysicalDeltaY = 0.05, 0.04
    dataset.SequenceOfUltrasoundRegions = [region]
    dataset.PixelData = np.random.default_rng(0).integers(0, 256, (frames, 24, 32, 3), dtype=np.uint8).tobytes()
    dataset.save_as(path, enforce_file_format=True)
    return path


def _base(modality: str, sop_class: str, series_uid: str | None = None, study_uid: str | None = None) -> Dataset:
    template = dcmread(carried("CT_small.dcm"))
    dataset = Dataset()
    for keyword in ("SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate"):
        dataset[keyword] = template[keyword]
    dataset.file_meta = template.file_meta
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = sop_class
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = series_uid or generate_uid(prefix=None)
    dataset.StudyInstanceUID = study_uid or generate_uid(prefix=None)
    dataset.Modality, dataset.StudyTime, dataset.StudyID = modality, "101010", "1"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.SeriesNumber = "", "", 3
    dataset.Rows, dataset.Columns, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 24, 32, 8, 8, 7
    dataset.PixelRepresentation = 0
    return dataset


def write_seg(
    series: Series, findings: Sequence[Finding], origin: Origin, path: Path, *, kind: SegKind = "binary"
) -> str:
    """Build and save; the SOP Instance UID."""
    seg = build_seg(series, findings, origin, kind=kind)
    save(seg, path)
    return str(seg.SOPInstanceUID)


def write_report(series: Series, findings: Sequence[Finding], origin: Origin, path: Path, *, seg: Path | None) -> str:
    """Build, of a segmentation's file, and save; the SOP Instance UID."""
    report = build_report(series, findings, origin, seg=None if seg is None else dcmread(seg))
    save(report, path)
    return str(report.SOPInstanceUID)


def write_capture(series: Series, picture: Image.Image, path: Path, *, key: int, **more: Any) -> str:
    """Build and save; the SOP Instance UID."""
    capture = build_capture(series, picture, **{"keys": [key], **more})
    save(capture, path)
    return str(capture.SOPInstanceUID)
