"""Made RT Structure Sets (PS3.3 A.19.3), as small as readers accept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from medreasoner_monai.dicom.series import Series


@dataclass
class Contour:
    """Points in the patient ``(N, 3)``, and the image it refers to."""

    points: NDArray[np.float64]
    image: str = ""
    kind: str = "CLOSED_PLANAR"


def write_rtstruct(path: Path, series: Series, rois: dict[str, Sequence[Contour]], *, frame: str | None = None) -> Path:
    """A structure set on a series; ``frame`` is its frame of reference, by default the series'."""
    header = series.headers[0]
    frame = str(header.FrameOfReferenceUID) if frame is None else frame
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = generate_uid(prefix=None), header.StudyInstanceUID
    dataset.Modality, dataset.StructureSetLabel, dataset.PatientID = "RTSTRUCT", "MADE", header.PatientID
    referenced = item(SeriesInstanceUID=series.uid)
    study = item(ReferencedSOPInstanceUID=header.StudyInstanceUID, RTReferencedSeriesSequence=[referenced])
    dataset.ReferencedFrameOfReferenceSequence = [item(FrameOfReferenceUID=frame, RTReferencedStudySequence=[study])]
    dataset.StructureSetROISequence = [
        item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame) for n, name in enumerate(rois, 1)
    ]
    dataset.RTROIObservationsSequence = [
        item(ObservationNumber=n, ReferencedROINumber=n, RTROIInterpretedType="ORGAN") for n in range(1, len(rois) + 1)
    ]
    dataset.ROIContourSequence = [
        item(ReferencedROINumber=n, ContourSequence=[contour_item(c) for c in contours])
        for n, contours in enumerate(rois.values(), 1)
    ]
    dataset.save_as(path, enforce_file_format=True)
    return path


def contour_item(contour: Contour) -> Dataset:
    made = item(
        ContourGeometricType=contour.kind,
        NumberOfContourPoints=len(contour.points),
        ContourData=[f"{v:.6f}" for v in contour.points.ravel()],
    )
    if contour.image:
        made.ContourImageSequence = [item(ReferencedSOPInstanceUID=contour.image)]
    return made


def item(**values: object) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def on_slice(series: Series, index: int, rows_columns: Sequence[tuple[float, float]]) -> Contour:
    """A contour through continuous (row, column) positions of a slice's stored grid."""
    plane = series.planes[index]
    assert plane.axes is not None and plane.position is not None and series.spacing is not None
    at = np.asarray(rows_columns, dtype=np.float64)
    along = at[:, 1:] * series.spacing[1] * plane.axes[:3]
    down = at[:, :1] * series.spacing[0] * plane.axes[3:]
    return Contour(plane.position + along + down, series.sop_instance_uid(index))


def square(series: Series, index: int, top: float, left: float, bottom: float, right: float) -> Contour:
    """A rectangle on a slice, its corners in continuous pixel positions."""
    return on_slice(series, index, [(top, left), (top, right), (bottom, right), (bottom, left)])
