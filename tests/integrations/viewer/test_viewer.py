"""OHIF, in a real browser, shows the regions where they are; what it cannot show is known.

`make test-viewer` brings what is needed; skipped without it.
"""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.grounding.outputs import write_outputs
from medreasoner_monai.grounding.result import GroundingResult
from tests.dicom.made import ORIGIN, a_finding, a_mask, make_series
from tests.dicom.tools import need_ct, paths_of
from tests.integrations.viewer import ohif, orthanc
from tests.integrations.viewer.reference import ORGANS, TRACE, grounded_reference
from tests.integrations.viewer.serve import serving

LOOK = Path(__file__).with_name("look.py")
PYTHON = Path(__file__).parents[3] / ".venv-viewer/bin/python"

pytestmark = [
    pytest.mark.chain,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        ohif.built() is None or not PYTHON.exists(), reason="make test-viewer brings OHIF and Playwright"
    ),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium: apt-get install chromium"),
    pytest.mark.skipif(orthanc.program() is None, reason=orthanc.INSTALL),
]

Labels = dict[tuple[str, int], set[tuple[int, bytes]]]
"""By source (SOP Instance UID, frame from 1): segment numbers with their masks, packed; empty ones left out."""


def look(result: GroundingResult, folder: Path, **more: Any) -> dict[str, Any]:
    """Write, store, open in the browser; pictures lie in ``folder/seen``."""
    outputs = write_outputs(result, folder / "out", **more)
    with orthanc.running(folder / "archive") as archive:
        archive.store(*dict.fromkeys(paths_of(result.series)), *(p for p in outputs.paths if p.suffix == ".dcm"))
        built = ohif.built()
        assert built is not None
        with serving(built, archive.url) as address:
            study = result.series.headers[0].StudyInstanceUID
            command = [PYTHON, LOOK, f"{address}/viewer?StudyInstanceUIDs={study}", folder / "seen"]
            subprocess.run([str(c) for c in command], check=True, timeout=500)
    seen: dict[str, Any] = json.loads((folder / "seen/seen.json").read_text())
    assert seen["outside"] == [], "nothing is fetched from or sent to anywhere else"
    return seen


def source(image_id: str) -> tuple[str, int]:
    """The SOP Instance UID and frame in a WADO-RS address."""
    parts = image_id.split("/")
    return parts[parts.index("instances") + 1], int(parts[parts.index("frames") + 1])


def labels_seen(seen: dict[str, Any]) -> Labels:
    (one,) = seen["segmentation"]["objects"]
    out: Labels = {}
    for frame in one["frames"]:
        values = np.frombuffer(base64.b64decode(frame["values"]), np.uint8)
        for number in np.unique(values[values > 0]):
            out.setdefault(source(frame["source"]), set()).add((int(number), np.packbits(values == number).tobytes()))
    return out


def labels_wanted(result: GroundingResult) -> Labels:
    out: Labels = {}
    for number, finding in enumerate(result.found, 1):
        for index, mask in finding.marked.items():
            place = result.series.sop_instance_uid(index), result.series.locate(index)[1] + 1
            out.setdefault(place, set()).add((number, np.packbits(mask).tobytes()))
    return out


def coloured(picture: Path, place: dict[str, Any]) -> np.ndarray:
    """Where the shown image is coloured on the page, by image pixel ``(rows, columns)``: CT is grey."""
    page = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    corner, right, down = (np.array(place[k]) for k in ("corner", "right", "down"))
    rows, columns = place["rows"], place["columns"]
    r, c = np.mgrid[:rows, :columns] + 0.5
    x, y = (
        corner[:, None, None]
        + (right - corner)[:, None, None] * c / columns
        + (down - corner)[:, None, None] * r / rows
    )
    inside = (x >= 0) & (x < page.shape[1]) & (y >= 0) & (y < page.shape[0])
    colour = page[np.clip(y, 0, page.shape[0] - 1).astype(int), np.clip(x, 0, page.shape[1] - 1).astype(int)]
    return inside & (np.ptp(colour, axis=-1) > 25)


@pytest.fixture(scope="module")
def three_organs(tmp_path_factory: pytest.TempPathFactory) -> tuple[GroundingResult, dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("three")
    result = grounded_reference(need_ct())
    return result, look(result, folder), folder / "seen"


def test_the_viewer_reads_every_voxel_under_its_name(three_organs: Any) -> None:
    result, seen, _ = three_organs
    assert seen["shown"] == {"segmentation": True, "report": True, "text": True, "capture": True}
    (one,) = seen["segmentation"]["objects"]
    assert one["segments"] == [[1, "liver"], [2, "vertebra"], [3, "heart"]]
    assert labels_seen(seen) == labels_wanted(result), "liver and heart share pixels, and both keep them"


def test_the_colours_lie_on_the_organs(three_organs: Any) -> None:
    result, seen, pictures = three_organs
    place = seen["segmentation"]["place"]
    uids = [result.series.sop_instance_uid(i) for i in range(len(result.series))]
    shown = uids.index(source(place["source"])[0])
    drawn = coloured(pictures / "segmentation.png", place)
    # The viewer draws an outline about two image pixels wide, and its own marks at the very edges of the image.
    marked = np.logical_or.reduce([f.marked[shown] for f in result.findings])
    near, well_inside = ndimage.binary_dilation(marked, iterations=3), ndimage.binary_erosion(marked, iterations=2)
    body = np.s_[40:-40, 40:-40]
    assert drawn[well_inside].mean() > 0.999
    assert drawn[body][~near[body]].mean() < 0.001
    for finding in result.findings:
        assert drawn[ndimage.binary_erosion(finding.marked[shown], iterations=2)].mean() > 0.999


def test_the_report_opens_on_its_slice_with_sizes(three_organs: Any) -> None:
    result, seen, _ = three_organs
    report = seen["report"]
    keys = {result.series.sop_instance_uid(f.key) for f in result.findings}
    assert source(report["place"]["source"])[0] in keys
    spacing = [float(v) for v in result.series.headers[0].PixelSpacing]
    area = int(result.findings[0].shown.voxels) * spacing[0] * spacing[1]
    assert any(f"{area:.2f} mm2" in text for text in report["texts"])


def test_the_report_opens_as_text_with_question_reasoning_and_notice(three_organs: Any) -> None:
    result, seen, _ = three_organs
    lines = seen["text"]["text"].splitlines()
    for finding in result.findings:
        assert f"Question asked: {finding.question}" in lines
    assert lines.count(f"Reasoning trace of the model: {TRACE}") == len(result.findings)
    assert any(line.startswith("How far the region was looked for: Asked on 3 of 3 slices") for line in lines)
    assert f"Comment: {RESEARCH_USE}" in lines


@pytest.mark.parametrize("kind", ["CT, enhanced", "CT, oblique and not square"])
def test_multi_frame_and_oblique_sources_are_met(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path / "in")
    finding = a_finding(series, {0: a_mask(series), 2: a_mask(series, 5, 20)})
    result = GroundingResult(series, (finding,), ORIGIN, (0, 2))
    seen = look(result, tmp_path)
    assert seen["shown"]["segmentation"] and labels_seen(seen) == labels_wanted(result)


def test_a_label_map_is_shown_too(tmp_path: Path) -> None:
    result = grounded_reference(need_ct(), list(ORGANS)[:2])
    seen = look(result, tmp_path, seg="labelmap")
    assert seen["shown"]["segmentation"] and labels_seen(seen) == labels_wanted(result)


Made = Callable[[Path], tuple[GroundingResult, dict[str, str]]]


def _fractional(folder: Path) -> tuple[GroundingResult, dict[str, str]]:
    return grounded_reference(need_ct(), confidence=0.6), {"seg": "fractional"}


def _unplaced(kind: str) -> Made:
    def make(folder: Path) -> tuple[GroundingResult, dict[str, str]]:
        series = make_series(kind, folder)
        last = len(series) - 1
        return GroundingResult(series, (a_finding(series, {last: a_mask(series)}),), ORIGIN, (last,)), {}

    return make


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (_fractional, "Fractional segmentations are not yet supported"),
        (_unplaced("DX"), "PixelMeasures"),
        (_unplaced("US, clip"), "PixelMeasures"),
    ],
    ids=["fractional", "X-ray", "clip"],
)
def test_what_this_viewer_cannot_draw_it_refuses_and_the_picture_still_shows(
    made: Made, says: str, tmp_path: Path
) -> None:
    result, more = made(tmp_path / "in")
    seen = look(result, tmp_path, **more)
    assert not seen["shown"]["segmentation"] and any(says in e for e in seen["errors"])
    assert seen["shown"]["capture"]
