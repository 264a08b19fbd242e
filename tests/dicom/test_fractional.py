"""A fractional segmentation holds probabilities that were measured, says how, and is refused without them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from medreasoner_monai.errors import DicomError
from medreasoner_monai.task.findings import SliceResult
from tests.dicom.made import ORIGIN, a_finding, a_mask, make_series, write_seg
from tests.dicom.test_seg import frames_of, valid


def test_fractional_says_each_slices_confidence(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    sure = a_finding(series, {0: a_mask(series)}, confidence=0.6)
    calibrated = a_finding(series, {1: a_mask(series)}, confidence=0.4, confidence_kind="calibrated")
    doubtful = a_finding(series, {2: a_mask(series)}, confidence=0.0)
    path = tmp_path / "seg.dcm"
    write_seg(series, [sure, calibrated, doubtful], ORIGIN, path, kind="fractional")
    valid(path)
    seg = dcmread(path)
    assert (seg.SegmentationType, seg.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert seg.MaximumFractionalValue == 255
    found = list(frames_of(path).values())
    assert [int(f.max()) for f in found] == [153, 102, 1], "0.6 and 0.4 of 255, and marked all the same"
    assert all(np.array_equal(f > 0, a_mask(series)) for f in found)
    said = [s.SegmentDescription for s in seg.SegmentSequence]
    assert [text.split(".")[0] for text in said] == [
        "Pixel values: agreement of several answers on the slice, not calibrated",
        "Pixel values: calibrated on validation data to the overlap that it predicts",
        "Pixel values: agreement of several answers on the slice, not calibrated",
    ]
    parameters = [s.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters for s in seg.SegmentSequence]
    assert "not calibrated" in parameters[0] and "calibrated on validation data" in parameters[1]


def test_a_fractional_segmentation_is_refused_where_nothing_was_measured(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    unmeasured = a_finding(series, {2: a_mask(series)})
    unexplained = a_finding(series, {1: a_mask(series)}, confidence=0.9, confidence_kind="")
    with pytest.raises(DicomError, match="slice 2: no confidence was measured there"):
        write_seg(series, [unmeasured], ORIGIN, tmp_path / "seg.dcm", kind="fractional")
    with pytest.raises(DicomError, match="slice 1: no confidence was measured there"):
        write_seg(series, [unexplained], ORIGIN, tmp_path / "seg.dcm", kind="fractional")
    assert not (tmp_path / "seg.dcm").exists()


def test_a_carriers_score_is_not_written_as_a_probability(tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    asked = a_finding(series, {1: a_mask(series)}, confidence=0.9)
    carried_to = SliceResult(2, None, "", a_mask(series), 0.0, 0.8, carried=True)
    finding = replace(asked, slices=(*asked.slices, carried_to))
    with pytest.raises(DicomError, match="slice 2: its mask was carried there and has no probability"):
        write_seg(series, [finding], ORIGIN, tmp_path / "seg.dcm", kind="fractional")
