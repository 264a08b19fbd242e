"""The files of an answer: ``seg.dcm``, ``overlay.png`` and ``answer.json``, all or none."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medreasoner_monai import RESEARCH_USE, __version__
from medreasoner_monai.artifacts import package_versions
from medreasoner_monai.bundle.result import GroundedSeries, SliceResult
from medreasoner_monai.dicom.display import render_slice
from medreasoner_monai.dicom.overlay import overlay
from medreasoner_monai.dicom.seg import SegmentInfo, write_seg
from medreasoner_monai.errors import InputError

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Outputs:
    """Where the answer lies."""

    seg: Path
    overlay: Path
    answer: Path


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


def write_outputs(result: GroundedSeries, out_dir: Path, lineage: Mapping[str, Any] | None = None) -> Outputs:
    """Write an answer; earlier results of the same names are replaced only when everything is written.

    Parameters
    ----------
    result:
        What was found.
    out_dir:
        Made if absent.
    lineage:
        What the model came from, as the bundle notes it.

    Returns
    -------
    The paths of ``seg.dcm``, ``overlay.png`` (the key slice) and ``answer.json``.

    Raises
    ------
    InputError
        If ``out_dir`` is a file.
    DicomError
        If no segmentation can refer to the series.
    """
    check_folder(out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    # Inside the folder and not beside it: the folder may be a mount, and a rename must not cross file systems.
    work = Path(tempfile.mkdtemp(prefix=".partial-", dir=out_dir))
    try:
        seg_uid = write_seg(result.series, result.masks, _segment(result), work / "seg.dcm")
        _picture(result).save(work / "overlay.png")
        text = json.dumps(_answer(result, seg_uid, lineage or {}), indent=2, ensure_ascii=False)
        (work / "answer.json").write_text(text + "\n", encoding="utf-8")
        for name in ("seg.dcm", "overlay.png", "answer.json"):
            (work / name).replace(out_dir / name)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Outputs(out_dir / "seg.dcm", out_dir / "overlay.png", out_dir / "answer.json")


def _segment(result: GroundedSeries) -> SegmentInfo:
    return SegmentInfo(
        description=f"Answer to: {result.question}",
        algorithm=f"medreasoner-monai {result.segmenter.name}",
        version=f"{__version__} {result.reasoner.digest[:12]}",
        parameters={
            "reasoner": result.reasoner.digest,
            "prompt": result.prompt_digest,
            "segmenter": result.segmenter.digest,
        },
        serial=result.reasoner.digest,
    )


def _picture(result: GroundedSeries) -> Any:
    key = result.key
    assert key.grounding is not None
    return overlay(
        render_slice(*result.series.load(key.index)),
        key.mask,
        key.grounding.box,
        key.grounding.points,
        question=result.question,
        trace=key.grounding.trace,
        heading=f"{result.series.modality} · slice {key.index + 1} of {len(result.series)}",
    )


def _answer(result: GroundedSeries, seg_uid: str, lineage: Mapping[str, Any]) -> dict[str, Any]:
    volume = result.volume_ml
    asked = len(result.slices)
    return {
        "schema_version": SCHEMA_VERSION,
        "notice": RESEARCH_USE,
        "question": result.question,
        "series_instance_uid": result.series.uid,
        "seg_sop_instance_uid": seg_uid,
        "coordinates": "continuous (column, row) of the DICOM frame, from 0 at the outer corner of the first pixel",
        "slices_in_series": len(result.series),
        "slices_asked": asked,
        "slices": [_slice(result, s) for s in result.slices],
        "key_slice": result.key.index,
        "voxels": result.voxels,
        "volume_ml": None if volume is None else round(volume, 3),
        "volume_covers": "the whole series"
        if asked == len(result.series)
        else f"{asked} of {len(result.series)} slices",
        "reasoner": {"name": result.reasoner.name, "digest": result.reasoner.digest},
        "segmenter": {"name": result.segmenter.name, "digest": result.segmenter.digest},
        "prompt_digest": result.prompt_digest,
        "repairs": list(result.series.repairs),
        "lineage": {k: v for k, v in lineage.items() if k != "files"},
        "packages": package_versions(),
    }


def _slice(result: GroundedSeries, one: SliceResult) -> dict[str, Any]:
    found = one.grounding
    return {
        "index": one.index,
        "sop_instance_uid": result.series.sop_instance_uid(one.index),
        "answered": found is not None,
        "reason": one.reason,
        "trace": None if found is None else found.trace,
        "box": None if found is None else [round(v, 2) for v in found.box.xyxy],
        "points": None if found is None else [[round(v, 2) for v in point] for point in found.points.xy],
        "voxels": one.voxels,
        "seconds": round(one.seconds, 3),
    }
