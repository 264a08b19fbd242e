"""From a series and a question to files, with a reasoner that needs no model."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.bundle.ground import ground_series, parse_slices, slices_to_ask
from medreasoner_monai.bundle.outputs import write_outputs
from medreasoner_monai.bundle.result import NoFindingError
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.geometry import Box
from medreasoner_monai.segmenters.protocol import Mask, Prompt
from tests.bundle.fakes import TRACE, MiddleReasoner
from tests.dicom.test_seg import read_back
from tests.dicom.tools import carried, dciodvfy_errors, make_ct, need_ct


class BoxSegmenter:
    """Marks the whole box; nothing where the picture is darker than ``least`` on average."""

    name = "box"
    digest = "c" * 64

    def __init__(self, least: float = 0.0) -> None:
        self.least = least

    def embed(self, image: np.ndarray) -> np.ndarray:
        return image

    def segment(self, embedding: np.ndarray, prompts: list[Prompt]) -> list[Mask]:
        return [self._mark(embedding, p.box) for p in prompts if p.box is not None]

    def _mark(self, image: np.ndarray, box: Box) -> Mask:
        mask = np.zeros(image.shape[:2], dtype=bool)
        if image.mean() >= self.least:
            mask[round(box.y1) : round(box.y2), round(box.x1) : round(box.x2)] = True
        return mask


@pytest.fixture
def series(tmp_path: Path) -> Series:
    make_ct(tmp_path / "ct", 3)
    return choose_series(tmp_path / "ct")


def test_every_slice_of_a_short_series_is_asked(series: Series) -> None:
    reasoner = MiddleReasoner()
    steps: list[tuple[int, int]] = []
    result = ground_series(
        series, "  Which\n part? ", reasoner, BoxSegmenter(), progress=lambda *step: steps.append(step)
    )
    assert reasoner.seen == [((24, 32), "Which part?")] * 3 and steps == [(3, 3)]
    assert [s.index for s in result.slices] == [0, 1, 2] and result.key.index == 0
    assert result.masks.shape == series.shape and result.voxels == 3 * 12 * 16
    assert result.volume_ml == pytest.approx(3 * 12 * 16 * 0.8 * 0.8 * 2.5 / 1000)


def test_a_long_series_is_asked_on_its_middle_slice(tmp_path: Path) -> None:
    make_ct(tmp_path, 17)
    long = choose_series(tmp_path)
    assert slices_to_ask(long, "auto") == [8]
    assert slices_to_ask(long, "all") == list(range(17))
    assert slices_to_ask(long, 16) == [16]
    with pytest.raises(InputError, match="slice 17 is asked for, but the series has 17, counted from 0 to 16"):
        slices_to_ask(long, 17)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "some"])
def test_slices_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="auto, all, or a slice number"):
        parse_slices(text)


def test_the_answer_is_written_in_three_files_that_agree(series: Series, tmp_path: Path) -> None:
    result = ground_series(series, "Which part?", MiddleReasoner(), BoxSegmenter(), slices=1)
    paths = write_outputs(result, tmp_path / "out/deep", {"model_digest": "m", "files": {"big": "list"}})
    assert sorted(p.name for p in (tmp_path / "out/deep").iterdir()) == ["answer.json", "overlay.png", "seg.dcm"]

    answer = json.loads(paths.answer.read_text())
    assert answer["question"] == "Which part?" and answer["notice"] == RESEARCH_USE
    assert answer["slices_asked"] == 1 and answer["key_slice"] == 1 and answer["volume_covers"] == "1 of 3 slices"
    assert answer["lineage"] == {"model_digest": "m"}
    assert answer["reasoner"]["name"] == "middle" and answer["segmenter"]["digest"] == "c" * 64
    (one,) = answer["slices"]
    assert one["box"] == [8, 6, 24, 18] and one["points"] == [[12.8, 9.6], [19.2, 14.4]] and one["trace"] == TRACE
    assert one["sop_instance_uid"] == series.headers[1].SOPInstanceUID

    seg = dcmread(paths.seg)
    assert np.array_equal(read_back(paths.seg, series), result.masks)
    assert answer["seg_sop_instance_uid"] == seg.SOPInstanceUID and answer["voxels"] == result.voxels
    assert seg.SegmentSequence[0].SegmentDescription == "Answer to: Which part?"
    assert dciodvfy_errors(paths.seg) == []
    with Image.open(paths.overlay) as picture:
        assert picture.width >= 768 and picture.info == {}


def test_no_patient_data_outside_the_seg(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    result = ground_series(series, "Which part?", MiddleReasoner(), BoxSegmenter())
    paths = write_outputs(result, tmp_path)
    header = series.headers[0]
    for secret in (str(header.PatientName), str(header.PatientID), header.InstitutionName):
        assert secret not in paths.answer.read_text()
        assert secret.encode() not in paths.overlay.read_bytes()


def test_slices_without_an_answer_are_kept_with_their_reason(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 3)
    series = choose_series(tmp_path / "ct")
    means = [np.mean(render) for render in _pictures(series)]
    result = ground_series(series, "Which?", MiddleReasoner(least=means[1]), BoxSegmenter(least=means[2]))
    assert [s.reason for s in result.slices] == ["no answer block", "empty mask", ""]
    assert result.key.index == 2 and [m.any() for m in result.masks] == [False, False, True]


def _pictures(series: Series) -> list[np.ndarray]:
    from medreasoner_monai.dicom.display import render_slice

    return [render_slice(*series.load(i)) for i in range(len(series))]


@pytest.mark.parametrize(
    ("reasoner", "segmenter", "reason"),
    [
        (MiddleReasoner(least=300), BoxSegmenter(), r"no answer block \(3\)"),
        (MiddleReasoner(), BoxSegmenter(least=300), r"empty mask \(3\)"),
    ],
)
def test_nothing_found_says_why(series: Series, reasoner: MiddleReasoner, segmenter: BoxSegmenter, reason: str) -> None:
    with pytest.raises(NoFindingError, match=rf"no region found in 3 of 3 slice\(s\): {reason}. Nothing was written"):
        ground_series(series, "Which?", reasoner, segmenter)


def test_earlier_results_stay_when_writing_fails(
    series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    result = ground_series(series, "First?", MiddleReasoner(), BoxSegmenter())
    write_outputs(result, out)
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_outputs(result, out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_a_file_is_no_folder_for_results(series: Series, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    result = ground_series(series, "Which?", MiddleReasoner(), BoxSegmenter())
    with pytest.raises(InputError, match="taken is a file"):
        write_outputs(result, tmp_path / "taken/below")


def test_an_empty_question_is_refused(series: Series) -> None:
    with pytest.raises(InputError, match="the question is empty"):
        ground_series(series, "  ", MiddleReasoner(), BoxSegmenter())


def test_on_the_real_ct_with_the_default_segmenter(tmp_path: Path) -> None:
    from medreasoner_monai.segmenters.registry import build

    series = choose_series(need_ct())
    result = ground_series(series, "Which organ?", MiddleReasoner(), build("classical"))
    paths = write_outputs(result, tmp_path)
    assert np.array_equal(read_back(paths.seg, series), result.masks)
    assert dciodvfy_errors(paths.seg) == []
