"""Left is the patient's left: however images are stored, models see one picture and answers lie in one place."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import Outputs, write_outputs
from medreasoner_monai.grounding.request import Question
from medreasoner_monai.reasoners.protocol import Image, Reading
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.dicom.tools import need_ct, need_tool
from tests.dicom.turned import ORIGIN, SHAPE, SPACING, SPOT, WAYS, Way, body, name, spot_in_space, write_ct
from tests.grounding.bright import bright_grounder
from tests.grounding.fakes import BoxSegmenter, MiddleReasoner

QUESTION = Question("Which organ on the patient's left cleans the blood?", "left kidney")
BOX = (255, 190, 60)
TOWARDS = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "H": (2, 1), "F": (2, -1)}
"""Axis of LPS and direction of each letter, by the standard's definition."""


def canonical(sliced: int) -> NDArray[np.uint8]:
    """The body's pictures ``(slices, rows, columns)``: from feet to head, from front to back, or from left to right."""
    hu = body().astype(float)
    planes = (hu, hu.transpose(1, 0, 2)[:, ::-1], hu.transpose(2, 0, 1)[::-1, ::-1])[sliced]
    grey = 255 * ((planes - (40 - 0.5)) / (800 - 1) + 0.5)  # PS3.3 C.11.2.1.2.1
    return np.asarray(grey.clip(0, 255).round(), dtype=np.uint8)


@pytest.mark.parametrize("way", WAYS, ids=name)
def test_mask_box_code_and_picture_agree_in_the_patient(way: Way, tmp_path: Path) -> None:
    series = choose_series(write_ct(tmp_path / "ct", way))
    seen = np.stack([series.view(index).pixels for index in range(len(series))])
    assert np.array_equal(seen, canonical(way[0][0])), "the models see one picture, however the plane is stored"
    paths = write_outputs(bright_grounder("This is the left kidney.").ground(series, [QUESTION]), tmp_path / "out")
    assert paths.seg is not None
    (answer,) = json.loads(paths.answer.read_text())["findings"]
    low, high = spot_in_space()

    # The mask, as ITK reads it.
    there = marked_in_space(paths.seg, tmp_path)
    expected = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in SPOT), indexing="ij"), axis=-1)
    expected = (expected.reshape(-1, 3) * SPACING)[:, ::-1] + ORIGIN
    assert np.allclose(ordered(there), ordered(expected), atol=1e-3)

    # The box, by the source's own attributes (PS3.3 C.7.6.2.1.1).
    image = next(h for h in series.headers if answer["key_sop_instance_uid"] == h.SOPInstanceUID)
    x1, y1, x2, y2 = answer["box"]
    corners = in_space(image, [(x1, y1), (x2, y2)])
    half = np.array(SPACING)[::-1] / 2
    inside = [axis for axis in range(3) if axis != 2 - way[0][0]]  # the slice's own axes in LPS
    assert np.allclose(corners.min(axis=0)[inside], (low - half)[inside], atol=1e-3)
    assert np.allclose(corners.max(axis=0)[inside], (high + half)[inside], atol=1e-3)

    # The picture: the marked area lies where its letters say.
    check_picture(paths, answer, (low + high) / 2)

    # The code: there where the plane shows left and right.
    (segment,) = dcmread(paths.seg).SegmentSequence
    shows_sides = way[0][0] != 2
    modifiers = segment.SegmentedPropertyTypeCodeSequence[0].get("SegmentedPropertyTypeModifierCodeSequence")
    assert [m.CodeMeaning for m in modifiers or []] == (["Left"] if shows_sides else [])
    assert segment.SegmentLabel == ("left kidney" if shows_sides else "kidney")
    assert answer["side"]["value"] == ("left" if shows_sides else "unknown")
    assert [flag["kind"] for flag in answer["flags"]] == ([] if shows_sides else ["side", "side"])


def test_the_real_ct_stored_mirrored_is_answered_alike(tmp_path: Path) -> None:
    """Its rows run the other way; attributes and pixels say the same as before."""
    plain = choose_series(need_ct())
    for index in range(len(plain)):
        dataset, _ = plain.load(index)
        pixels = dataset.pixel_array[:, ::-1]
        axes, first = (
            np.array(dataset[k].value, dtype=float) for k in ("ImageOrientationPatient", "ImagePositionPatient")
        )
        width = (pixels.shape[1] - 1) * float(dataset.PixelSpacing[1])
        dataset.ImagePositionPatient = [float(f"{v:.9g}") for v in first + width * axes[:3]]
        dataset.ImageOrientationPatient = [*(-axes[:3]), *axes[3:]]
        dataset.PixelData = np.ascontiguousarray(pixels).tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(tmp_path / f"{index}.dcm", enforce_file_format=True)
    mirrored = choose_series(tmp_path)
    aside = Grounder(AnswersAside(), BoxSegmenter())
    (one,), (other,) = (aside.ground(s, "Which organ stores bile?").findings for s in (plain, mirrored))
    assert one.key == other.key and one.marked.keys() == other.marked.keys()
    for index, mask in one.marked.items():
        there = other.marked[index][:, ::-1]  # into the first one's grid
        assert 2 * (mask & there).sum() / (mask.sum() + there.sum()) == 1
        assert not np.array_equal(mask, mask[:, ::-1]), "the answer is not symmetric"


class AnswersAside(MiddleReasoner):
    """Always the same place of the picture, left of its middle: what a model does that is shown one picture."""

    def _read(self, image: Image, question: str, moved: float = 0.0) -> Reading:
        rows, columns = image.shape[:2]
        frame = Frame(columns, rows)
        box = Box(columns * 0.2, rows * 0.3, columns * 0.45, rows * 0.6, frame)
        points = Points((columns * 0.25, rows * 0.4), (columns * 0.4, rows * 0.5), frame)
        return Reading(Grounding("A grey area.", box, points), "", frame, 0.0)


def marked_in_space(seg: Path, folder: Path) -> NDArray[np.float64]:
    """Centres of the marked voxels ``(N, 3)`` in LPS, mm, as dcmqi has them (it reads with DCMTK and ITK)."""
    tool = need_tool("segimage2itkimage", "the package dcmqi")
    command = [tool, "--inputDICOM", str(seg), "--outputDirectory", str(folder), "--outputType", "nrrd"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    voxels, header = nrrd.read(str(folder / "1.nrrd"))
    assert header["space"] == "left-posterior-superior"
    return np.argwhere(voxels > 0) @ np.asarray(header["space directions"]) + np.asarray(header["space origin"])


def in_space(image: Dataset, xy: list[tuple[float, float]]) -> NDArray[np.float64]:
    """Continuous (column, row) of a stored frame in LPS, mm ``(N, 3)``."""
    axes = np.array(image.ImageOrientationPatient, dtype=float)
    row_step, column_step = (float(v) for v in image.PixelSpacing)
    first = np.array(image.ImagePositionPatient, dtype=float)
    return np.array([first + (x - 0.5) * column_step * axes[:3] + (y - 0.5) * row_step * axes[3:] for x, y in xy])


def check_picture(paths: Outputs, answer: dict[str, Any], spot: NDArray[np.float64]) -> None:
    capture = dcmread(paths.capture)
    letters = list(capture.PatientOrientation)
    assert letters == [answer["view"]["row"], answer["view"]["column"]]
    pixels = capture.pixel_array
    rows, columns = np.nonzero((pixels == BOX).all(axis=-1))
    # The slice fills the width; below it the paper of the caption begins.
    height = int(np.flatnonzero((pixels[:, 0] == (22, 24, 28)).all(axis=-1))[0])
    middle = np.array(ORIGIN) + np.array(SPACING)[::-1] * (np.array(SHAPE)[::-1] - 1) / 2
    for letter, at, size in ((letters[0], columns.mean(), pixels.shape[1]), (letters[1], rows.mean(), height)):
        axis, sign = TOWARDS[letter]
        assert np.sign(at - size / 2) == np.sign(sign * (spot - middle)[axis])


def ordered(points: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.asarray(points, dtype=float).round(3)
    return rounded[np.lexsort(rounded.T)]
