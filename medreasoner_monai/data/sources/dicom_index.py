"""What lies in a folder tree of DICOM files: images by series, and which segmentation or structure set is of which."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset, dcmread

from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.dicom.files import is_dicom
from medreasoner_monai.errors import DicomError, InputError

_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "Modality", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Rows", "ReferencedSeriesSequence", "ReferencedFrameOfReferenceSequence", "SegmentSequence"),
    "StructureSetROISequence",
]
OUTLINED = ("SEG", "RTSTRUCT")


@dataclass(frozen=True)
class MadeFile:
    """A segmentation or structure set, unread."""

    path: str
    masks: int


@dataclass
class Index:
    """Attributes are by Series Instance UID; paths are within the folder.

    Attributes
    ----------
    images:
        Files of series that have outlines.
    made:
        What was made on them.
    lost:
        What cannot be used, with the reason.
    plain:
        How many image series have no outlines.
    """

    images: dict[str, list[str]] = field(default_factory=dict)
    made: dict[str, list[MadeFile]] = field(default_factory=dict)
    lost: list[Reject] = field(default_factory=list)
    plain: int = 0


def index(root: Path) -> Index:
    """Look at every file of a folder tree once; pixels are not read.

    Raises
    ------
    InputError
        If there is no such folder, or no DICOM file in it.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one with DICOM files")
    out = Index()
    frames: dict[str, set[str]] = {}
    made: list[tuple[MadeFile, Dataset]] = []
    images: dict[str, list[str]] = {}
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        place = path.relative_to(root).as_posix()
        try:
            if not is_dicom(path):
                continue
            header = dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
            uid, modality = str(header.get("SeriesInstanceUID") or ""), str(header.get("Modality") or "")
            if modality in OUTLINED:
                made.append((MadeFile(place, masks_of(header)), header))
            elif uid and header.get("Rows"):
                images.setdefault(uid, []).append(place)
                frames.setdefault(str(header.get("FrameOfReferenceUID") or ""), set()).add(uid)
        except DicomError as error:
            out.lost.append(Reject(place, str(error), masks=0))
        except Exception as error:  # pydicom raises many kinds on damaged files
            out.lost.append(Reject(place, f"a damaged DICOM file ({type(error).__name__}); export it again", masks=0))
    if not images and not made and not out.lost:
        raise InputError(f"{root}: no DICOM file found; give a folder with images and SEG or RTSTRUCT")
    for file, described in made:
        target, why = target_series(described, images, frames)
        if target is None:
            out.lost.append(Reject(file.path, why, masks=file.masks))
        else:
            out.made.setdefault(target, []).append(file)
    out.images = {uid: images[uid] for uid in sorted(out.made)}
    out.plain = len(images) - len(out.images)
    return out


def masks_of(header: Dataset) -> int:
    """How many structures a segmentation or structure set describes, at least 1."""
    return max(1, len(header.get("SegmentSequence") or header.get("StructureSetROISequence") or ()))


def target_series(
    header: Dataset, images: Iterable[str], frames: Mapping[str, set[str]] | None = None
) -> tuple[str | None, str]:
    """The image series that a segmentation or structure set was made on; None and why not where it is not there.

    Parameters
    ----------
    images:
        Series Instance UIDs that there are.
    frames:
        Those of each Frame of Reference UID, for objects that name no series; None where that is not known.
    """
    there = set(images)
    stated = list(dict.fromkeys(_stated(header)))
    known = [uid for uid in stated if uid in there]
    if len(known) == 1:
        return known[0], ""
    if known:
        return None, f"it refers to {len(known)} image series; one was expected, split it"
    if stated:
        return None, f"it refers to the series …{stated[0][-12:]}, which is not there; add its images"
    if frames is None:
        return None, "it names no series; export it again with a reference to its images"
    candidates = frames.get(_frame_of_reference(header), set()) if _frame_of_reference(header) else set()
    if len(candidates) == 1:
        return next(iter(candidates)), ""
    if candidates:
        return None, f"it names no series, and {len(candidates)} series share its frame of reference"
    return None, "it names no series, and no series has its frame of reference"


def _stated(header: Dataset) -> Iterator[str]:
    for series in header.get("ReferencedSeriesSequence") or ():
        yield str(series.get("SeriesInstanceUID") or "")
    for frame in header.get("ReferencedFrameOfReferenceSequence") or ():
        for study in frame.get("RTReferencedStudySequence") or ():
            for series in study.get("RTReferencedSeriesSequence") or ():
                yield str(series.get("SeriesInstanceUID") or "")


def _frame_of_reference(header: Dataset) -> str:
    if header.get("FrameOfReferenceUID"):
        return str(header.FrameOfReferenceUID)
    rois = header.get("StructureSetROISequence") or ()
    return str(rois[0].get("ReferencedFrameOfReferenceUID") or "") if rois else ""
