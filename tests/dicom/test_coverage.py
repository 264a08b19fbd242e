"""A region counts as whole only where what lies around it was looked at; only then has it a volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medreasoner_monai.dicom.coverage import coverage, with_coverage
from medreasoner_monai.dicom.measures import measure
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.segmenters.carry import PromptCarrier
from medreasoner_monai.segmenters.protocol import Prompt
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.findings import Finding, SliceResult
from medreasoner_monai.task.geometry import Box, Frame
from tests.dicom.made import a_finding, a_mask, make_series, nothing_found
from tests.dicom.tools import make_ct, make_xray
from tests.grounding.fakes import BoxSegmenter

VOXEL_ML = 0.8 * 0.8 * 2.5 / 1000


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Series:
    """A CT of ten slices, 2.5 mm apart."""
    folder = tmp_path_factory.mktemp("ten")
    make_ct(folder, 10)
    return choose_series(folder)


def asked(series: Series, marked: Sequence[int], empty: Sequence[int] = ()) -> Finding:
    """A finding with one rectangle on the marked slices, and readable answers without a region on the empty ones."""
    finding = a_finding(series, {i: a_mask(series) for i in marked})
    nothing = tuple(SliceResult(i, None, str(Reason.NOTHING_FOUND), None, 0.1) for i in empty)
    return replace(finding, slices=tuple(sorted((*finding.slices, *nothing), key=lambda s: s.index)))


def carried(series: Series, marked: Sequence[int], stops: tuple[str, str]) -> Finding:
    """A finding asked on the middle one of the marked slices, and carried to the others."""
    finding = asked(series, marked)
    key = marked[len(marked) // 2]
    slices = tuple(s if s.index == key else replace(s, carried=True, grounding=None) for s in finding.slices)
    return replace(finding, slices=slices, key=key, stops=stops)


def test_a_region_between_slices_that_have_nothing_is_whole_and_has_a_volume(ten: Series) -> None:
    finding = asked(ten, [3, 4, 5], empty=[2, 6])
    found = coverage(ten, finding)
    assert found.complete and found.reasons == () and found.ends == ("empty", "empty")
    assert (found.slices, found.asked, found.carried, found.marked, found.extent) == (10, 5, 0, 3, (3, 5))
    assert measure(ten, finding).volume_ml == pytest.approx(3 * 28 * VOXEL_ML)
    assert with_coverage(ten, finding) == finding, "nothing to warn of"


@pytest.mark.parametrize(
    ("marked", "empty", "reason"),
    [
        ([0, 1], [2], "it reaches the first slice of the series"),
        ([8, 9], [7], "it reaches the last slice of the series"),
        ([3, 4], [5], "the slice before it was not looked at"),
        ([3, 4], [2], "the slice behind it was not looked at"),
        ([2, 5], [1, 6], "within it 2 slices gave no answer"),
    ],
)
def test_a_part_has_no_volume_and_says_why(ten: Series, marked: list[int], empty: list[int], reason: str) -> None:
    finding = asked(ten, marked, empty)
    assert coverage(ten, finding).reasons == (reason,)
    measures = measure(ten, finding)
    assert measures.volume_ml is None and measures.area_mm2 == pytest.approx(28 * 0.64)
    (flag,) = with_coverage(ten, finding).flags
    assert flag.kind == "coverage"
    assert flag.text == f"The region may not be whole: {reason}. So its volume is left out."


def test_four_of_forty_slices_are_not_the_organs_volume(tmp_path: Path) -> None:
    make_ct(tmp_path, 40)
    series = choose_series(tmp_path)
    finding = asked(series, [5, 15, 25, 35])
    assert measure(series, finding).volume_ml is None
    assert coverage(series, finding).line == "4 of 40 slices asked: may not be whole"
    assert "within it 27 slices gave no answer" in coverage(series, finding).text


@pytest.mark.parametrize("reason", [str(Reason.UNSURE), str(Reason.NOT_JSON)])
def test_an_answer_that_was_withheld_or_not_read_does_not_say_that_nothing_is_there(ten: Series, reason: str) -> None:
    finding = asked(ten, [3, 4], empty=[5])
    silent = SliceResult(2, None, reason, None, 0.1, unsure=reason == Reason.UNSURE)
    assert coverage(ten, replace(finding, slices=(silent, *finding.slices))).ends == ("unseen", "empty")


@pytest.mark.parametrize(
    ("stop", "end"),
    [
        ("stopped before slice 6: the region shrank to 2 pixels", "ended"),
        (
            "stopped before slice 6: the object is gone there (score -1.0 for its presence; above 0.0 is asked for)",
            "ended",
        ),
        ("stopped before slice 6: overlap 0.21 with the last mask, 0.4 is asked for", "stopped"),
        ("stopped before slice 6: likeness 0.31 to the key slice's region, 0.5 is asked for", "stopped"),
        ("stopped before slice 6: the region grew from 20 to 90 pixels at once", "stopped"),
        ("reached the last slice", "ended"),  # it saw slices 6 to 9, and marked none
    ],
)
def test_only_a_mask_that_vanished_ended(ten: Series, stop: str, end: str) -> None:
    finding = carried(ten, [3, 4, 5], ("stopped before slice 2: the region shrank to 0 pixels", stop))
    found = coverage(ten, finding)
    assert found.ends == ("ended", end) and found.complete == (end == "ended")
    assert (found.asked, found.carried) == (1, 2)
    assert (measure(ten, finding).volume_ml is not None) == found.complete


def test_carrying_to_the_series_end_does_not_enclose_a_region(ten: Series) -> None:
    finding = carried(ten, list(range(10)), ("reached the first slice", "reached the last slice"))
    assert coverage(ten, finding).ends == ("edge", "edge") and measure(ten, finding).volume_ml is None


def test_what_the_carrier_says_of_a_vanished_mask_is_understood(ten: Series) -> None:
    """A ball that ends within the series, followed by the carrier that every segmenter can have."""
    pictures = [np.zeros((24, 32), dtype=np.uint8) for _ in range(10)]
    for i in (3, 4, 5):
        pictures[i][6:12, 8:16] = 200
    mask = pictures[4] > 0
    frame = Frame(32, 24, "view")
    found = PromptCarrier(_Bright()).carry(
        pictures.__getitem__, 10, 4, Prompt(Box(8, 6, 16, 12, frame), None), mask, lambda _: None
    )
    finding = asked(ten, [4])
    others = tuple(SliceResult(c.index, None, "", c.mask, 0.0, c.confidence, carried=True) for c in found.slices)
    finding = replace(
        finding, slices=tuple(sorted((*finding.slices, *others), key=lambda s: s.index)), stops=found.stops
    )
    assert sorted(finding.marked) == [3, 4, 5], found.stops
    assert coverage(ten, finding).complete


class _Bright(BoxSegmenter):
    """Marks what is bright within the box."""

    def segment(self, embedding: Any, prompts: Sequence[Prompt]) -> list[Any]:
        return [mask & (embedding > 100) for mask in super().segment(embedding, prompts)]


def test_a_region_cut_by_the_pictures_edge_has_neither_volume_nor_sizes(ten: Series) -> None:
    finding = asked(ten, [3, 4], empty=[2, 5])
    cut = replace(finding.slices[1], mask=a_mask(ten, 0, 9))
    finding = replace(finding, slices=(finding.slices[0], cut, *finding.slices[2:]), key=3)
    assert coverage(ten, finding).cut == (3,)
    measures = measure(ten, finding)
    assert (measures.volume_ml, measures.area_mm2, measures.long_mm, measures.short_mm, measures.plane) == (None,) * 5
    assert measures.mean is not None, "of the pixels that are marked it is true"
    (flag,) = with_coverage(ten, finding).flags
    assert "touches the picture's edge on 1 slice" in flag.text
    assert flag.text.endswith("So its volume is left out and its area and diameters are left out.")


def test_a_missing_slice_in_the_region_leaves_its_volume_out(tmp_path: Path) -> None:
    paths = make_ct(tmp_path, 10)
    paths[4].unlink()
    series = choose_series(tmp_path)
    assert len(series) == 9
    inside = asked(series, [3, 4, 5], empty=[2, 6])
    assert coverage(series, inside).uneven and measure(series, inside).volume_ml is None
    elsewhere = asked(series, [6, 7], empty=[5, 8])
    assert not coverage(series, elsewhere).uneven and measure(series, elsewhere).volume_ml is not None


def test_an_x_ray_has_no_slices_to_miss_but_an_edge(tmp_path: Path) -> None:
    series = choose_series(make_xray(tmp_path / "dx.dcm"))
    whole = a_finding(series, {0: a_mask(series)})
    assert coverage(series, whole).complete and coverage(series, whole).ends is None
    assert coverage(series, whole).line == "" and measure(series, whole).area_mm2 is not None
    cut = a_finding(series, {0: a_mask(series, left=0)})
    assert not coverage(series, cut).complete and measure(series, cut).area_mm2 is None
    assert coverage(series, cut).line == "may go on beyond the picture's edge"


def test_a_single_slice_of_a_ct_is_not_a_volume(tmp_path: Path) -> None:
    make_ct(tmp_path, 1)
    series = choose_series(tmp_path)
    finding = a_finding(series, {0: a_mask(series)})
    assert coverage(series, finding).reasons == ("the series has a single slice",)
    assert measure(series, finding).volume_ml is None


def test_nothing_found_is_not_whole_and_has_nothing_to_warn_of(ten: Series) -> None:
    finding = nothing_found(ten, [1, 2])
    found = coverage(ten, finding)
    assert not found.complete and found.reasons == () and found.text == "Asked on 2 of 10 slices."
    assert with_coverage(ten, finding) == finding


@pytest.mark.parametrize("kind", ["US, clip", "XC, two photographs"])
def test_clips_and_photographs_are_no_stack(kind: str, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    found = coverage(series, a_finding(series, {1: a_mask(series)}))
    assert found.ends is None and found.gaps == () and found.complete


@given(st.lists(st.sampled_from(["region", "nothing", "not read", "not asked"]), min_size=10, max_size=10))
def test_whole_is_what_a_reader_would_call_whole(ten: Series, answers: list[str]) -> None:
    marked = [i for i, a in enumerate(answers) if a == "region"]
    if not marked:
        return
    finding = asked(ten, marked, [i for i, a in enumerate(answers) if a == "nothing"])
    unread = tuple(SliceResult(i, None, str(Reason.BOX), None, 0.1) for i, a in enumerate(answers) if a == "not read")
    finding = replace(finding, slices=tuple(sorted((*finding.slices, *unread), key=lambda s: s.index)))
    first, last = marked[0], marked[-1]
    around = answers[max(first - 1, 0) : last + 2]
    enclosed = first > 0 and last < 9 and all(a in ("region", "nothing") for a in around)
    assert coverage(ten, finding).complete == enclosed
    assert (measure(ten, finding).volume_ml is not None) == enclosed
