"""The files of an answer: SEG, report, picture as DICOM and as PNG, and JSON; all or none."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydicom import Dataset

from medreasoner_monai.dicom.capture import build_capture
from medreasoner_monai.dicom.coverage import coverage
from medreasoner_monai.dicom.overlay import overlay
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import SegKind, build_seg
from medreasoner_monai.dicom.series import Series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.placing import viewed_answer, viewed_mask
from medreasoner_monai.grounding.record import answer_record
from medreasoner_monai.grounding.result import GroundingResult
from medreasoner_monai.task.findings import Finding

logger = logging.getLogger(__name__)

SEG, REPORT, CAPTURE, OVERLAY, ANSWER = NAMES = ("seg.dcm", "report.dcm", "capture.dcm", "overlay.png", "answer.json")

_WORK = ".partial-"


@dataclass(frozen=True)
class Outputs:
    """Where the answer lies; ``seg`` is None where nothing was found."""

    seg: Path | None
    report: Path
    capture: Path
    overlay: Path
    answer: Path

    @property
    def paths(self) -> list[Path]:
        """Those that there are."""
        return [p for p in (self.seg, self.report, self.capture, self.overlay, self.answer) if p is not None]


def check_folder(out_dir: Path) -> None:
    """Whether results can be written there.

    Raises
    ------
    InputError
        If the path, or one above it, is a file.
    """
    for path in (out_dir, *out_dir.parents):
        if path.exists():
            if not path.is_dir():
                raise InputError(f"{path} is a file; give a folder for the results")
            return


def write_outputs(result: GroundingResult, out_dir: Path, *, seg: SegKind = "binary") -> Outputs:
    """Write an answer; earlier results of the same names are replaced only when everything is written.

    Parameters
    ----------
    result:
        What was found, or that nothing was: then there is no SEG, and one of an earlier answer is removed.
    out_dir:
        Made if absent.
    seg:
        Kind of segmentation.

    Raises
    ------
    InputError
        If ``out_dir`` is a file.
    DicomError
        If no object can refer to the series.
    """
    check_folder(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    for left in out_dir.glob(f"{_WORK}*"):  # by a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    # Inside the folder and not beside it: the folder may be a mount, and a rename must not cross file systems.
    work = Path(tempfile.mkdtemp(prefix=_WORK, dir=out_dir))
    try:
        picture = draw(result)
        objects = build_objects(result, picture, seg=seg)
        for kind, dataset in objects.items():
            save(dataset, work / f"{kind}.dcm")
        uids = {kind: str(dataset.SOPInstanceUID) for kind, dataset in objects.items()}
        picture.save(work / OVERLAY)
        text = json.dumps(answer_record(result, uids), indent=2, ensure_ascii=False)
        (work / ANSWER).write_text(text + "\n", encoding="utf-8")
        for name in NAMES:
            if (work / name).exists():
                (work / name).replace(out_dir / name)
            else:
                (out_dir / name).unlink(missing_ok=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Outputs(
        out_dir / SEG if result.found else None,
        out_dir / REPORT,
        out_dir / CAPTURE,
        out_dir / OVERLAY,
        out_dir / ANSWER,
    )


def build_objects(result: GroundingResult, picture: Image.Image, *, seg: SegKind = "binary") -> dict[str, Dataset]:
    """The answer as DICOM data sets by kind: ``seg`` if something was found, ``report`` and ``capture``; no file.

    Parameters
    ----------
    picture:
        From :func:`draw`, for the Secondary Capture.

    Raises
    ------
    DicomError
        If no object can refer to the series.
    """
    series, findings, origin = result.series, result.findings, result.origin
    objects: dict[str, Dataset] = {}
    if result.found:
        objects["seg"] = build_seg(series, findings, origin, kind=seg)
    objects["report"] = build_report(series, findings, origin, seg=objects.get("seg"), measures=result.measures)
    keys = [f.key for f in findings]
    objects["capture"] = build_capture(
        series, picture, keys=keys, patient_orientation=_letters(series, keys), origin=origin
    )
    return objects


def log_summary(result: GroundingResult, outputs: Outputs) -> None:
    """Log what was written, and why a finding has no region; no text of the question or the answer."""
    for number, finding in enumerate(result.findings, 1):
        if finding.status != "found":
            logger.warning("finding %d: %s (%s)", number, finding.status, finding.reason)
    for path in outputs.paths:
        logger.info("wrote %s", path)


def draw(result: GroundingResult) -> Image.Image:
    """The findings' key slices, one below the other."""
    return _stacked([_picture(result, finding) for finding in result.findings])


def _picture(result: GroundingResult, finding: Finding) -> Image.Image:
    shown = finding.shown
    answer = shown.grounding
    trace = answer.trace if answer is not None else f"{finding.status}: {finding.reason}"
    view = result.series.view(finding.key, result.rendering)
    seen = None if answer is None else viewed_answer(answer, view.orientation, view.shape)
    return overlay(
        view.pixels,
        None if shown.mask is None else viewed_mask(shown.mask, view.orientation),
        None if seen is None else seen.box,
        None if seen is None else seen.points,
        question=finding.question,
        trace=trace,
        heading=" · ".join(_heading(result, finding)),
        flags=[flag.text for flag in finding.flags],
        orientation=view.orientation,
        spacing=view.spacing,
    )


def _letters(series: Series, keys: Sequence[int]) -> tuple[str, str] | None:
    """The letters of the shown slices' views, where all have the same."""
    letters = {series.orientation(key).letters for key in keys}
    return letters.pop() if len(letters) == 1 else None


def _heading(result: GroundingResult, finding: Finding) -> Iterator[str]:
    yield result.series.modality
    yield f"slice {finding.key + 1} of {len(result.series)}"
    volume = result.measures[finding.tracking_uid].volume_ml
    if volume is not None:
        yield f"{volume:.1f} ml in {len(finding.marked)} slice(s)"
    if line := coverage(result.series, finding).line:
        yield line
    if finding.shown.confidence is not None:
        yield f"confidence {finding.shown.confidence:.2f}"


def _stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    if len(pictures) == 1:
        return pictures[0]
    sheet = Image.new("RGB", (max(p.width for p in pictures), sum(p.height for p in pictures)))
    top = 0
    for picture in pictures:
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet
