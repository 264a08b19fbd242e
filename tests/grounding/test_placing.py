"""However a slice is turned for the models, findings lie where they are in the stored frame."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.dicom.slices import Series
from medreasoner_monai.dicom.view import Orientation
from medreasoner_monai.grounding.grounder import Grounder
from medreasoner_monai.grounding.outputs import draw
from medreasoner_monai.grounding.placing import stored_answer, stored_mask, viewed_answer, viewed_mask
from medreasoner_monai.grounding.request import GroundingSettings
from medreasoner_monai.reasoners.protocol import Capability, Image, Reading
from medreasoner_monai.segmenters.protocol import Mask
from medreasoner_monai.task.answer import Grounding
from medreasoner_monai.task.geometry import Box, Frame, Points
from tests.dicom.tools import make_ct
from tests.grounding.fakes import BoxSegmenter

TURNS = [Orientation(None, *flags) for flags in itertools.product((False, True), repeat=3)]
SPOT = (slice(3, 15), slice(5, 21))
"""Rows and columns of the brightest pixels in each made slice; nowhere near its middle."""


class FindsTheBrightest:
    """Answers with the box around the brightest pixels, wherever the picture it is shown has them."""

    name, digest, prompt_digest = "brightest", "a" * 64, "b" * 64
    capabilities: frozenset[Capability] = frozenset({"batch"})

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Reading]:
        return [self._read(image) for image in images]

    def _read(self, image: Image) -> Reading:
        rows, columns = np.nonzero(image == image.max())
        frame = Frame(image.shape[1], image.shape[0])
        box = Box(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1, frame)
        points = Points((box.x1 + 1, box.y1 + 1), (box.x2 - 1, box.y2 - 1), frame)
        return Reading(Grounding("bright", box, points), "", frame, 0.0)


class MarksTheBrightest(BoxSegmenter):
    """The brightest pixels of the box."""

    def _mark(self, image: Image, box: Box) -> Mask:
        return super()._mark(image, box) & (image == image.max())


@pytest.fixture
def series(tmp_path: Path) -> Series:
    for path in make_ct(tmp_path, 10):
        dataset = dcmread(path)
        pixels = dataset.pixel_array.copy()
        pixels[SPOT] += 500
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    return choose_series(tmp_path)


@pytest.mark.parametrize("turned", TURNS, ids=lambda o: f"{o.transposed:d}{o.mirrored_columns:d}{o.mirrored_rows:d}")
def test_findings_lie_where_they_are_however_the_models_saw_them(
    series: Series, turned: Orientation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Series, "orientation", lambda self, index: turned)
    assert series.view(0).shape == (series.shape[:0:-1] if turned.transposed else series.shape[1:])
    settings = GroundingSettings(slices=3, carry="on")
    result = Grounder(FindsTheBrightest(), MarksTheBrightest(), {}, settings).ground(series, "What is bright?")
    (finding,) = result.findings
    expected = np.zeros(series.shape[1:], dtype=bool)
    expected[SPOT] = True
    assert len(finding.marked) > 1, "the mask was carried on"
    assert all(np.array_equal(mask, expected) for mask in finding.marked.values())
    answer = finding.shown.grounding
    assert answer is not None and answer.box.frame == Frame(series.shape[2], series.shape[1], "dicom")
    assert answer.box.xyxy == (5, 3, 21, 15)
    assert sorted(answer.points.xy) in ([(6, 4), (20, 14)], [(6, 14), (20, 4)])
    assert draw(result).size[0] > 0


flags = st.builds(Orientation, st.none(), st.booleans(), st.booleans(), st.booleans())
sides = st.integers(2, 40)


@given(flags, sides, sides, st.data())
def test_there_and_back_is_the_same(turned: Orientation, rows: int, columns: int, data: st.DataObject) -> None:
    def within(limit: int) -> float:
        return data.draw(st.floats(0, limit, allow_nan=False))

    x1, y1 = data.draw(st.integers(0, columns - 1)), data.draw(st.integers(0, rows - 1))
    frame = Frame(columns, rows, "view")
    box = Box(x1, y1, data.draw(st.integers(x1 + 1, columns)), data.draw(st.integers(y1 + 1, rows)), frame)
    points = Points((within(columns), within(rows)), (within(columns), within(rows)), frame)
    answer = Grounding("why", box, points)
    stored = stored_answer(answer, turned, (rows, columns))
    back = viewed_answer(stored, turned, (rows, columns))
    assert back.box == box and back.points.frame == frame
    assert np.allclose(back.points.xy, points.xy, atol=1e-9)
    assert stored.box.area == box.area

    mask = np.zeros((rows, columns), dtype=bool)
    mask[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] = True
    there = stored_mask(mask, turned)
    assert np.array_equal(viewed_mask(there, turned), mask)
    assert there[int(stored.box.y1) : int(stored.box.y2), int(stored.box.x1) : int(stored.box.x2)].all()
    assert there.sum() == mask.sum() == box.area
