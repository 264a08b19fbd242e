"""The files of an answer: they agree, none is half there, and none says who the patient is but DICOM."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pytest
from PIL import Image
from pydicom import dcmread

from medreasoner_monai import RESEARCH_USE
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding.outputs import NAMES, write_outputs
from medreasoner_monai.grounding.request import GroundingSettings, Question
from medreasoner_monai.grounding.study import Study, ground_study
from medreasoner_monai.task.answer import Reason
from tests.dicom.tools import carried, dciodvfy_errors, make_ct
from tests.grounding.fakes import TRACE, MiddleReasoner, grounder


@pytest.fixture
def series(tmp_path: Path) -> Series:
    make_ct(tmp_path / "ct", 3)
    return choose_series(tmp_path / "ct")


def test_the_answer_is_written_in_files_that_agree(series: Series, tmp_path: Path) -> None:
    result = grounder().ground(series, "Which part?", slices=1, carry="off")
    paths = write_outputs(result, tmp_path / "out/deep")
    assert sorted(p.name for p in (tmp_path / "out/deep").iterdir()) == sorted(NAMES)

    answer = json.loads(paths.answer.read_text())
    assert answer["notice"] == RESEARCH_USE and answer["slices_asked"] == [1]
    assert answer["lineage"]["model_digest"] == "m" * 64 and "files" not in answer["lineage"]
    assert answer["reasoner"]["name"] == "middle" and answer["segmenter"]["digest"] == "c" * 64
    (finding,) = answer["findings"]
    assert finding["question"] == "Which part?" and finding["status"] == "found" and finding["trace"] == TRACE
    assert finding["key_slice"] == 1 and finding["mask_covers"] == "1 of 3 slices"
    assert finding["box"] == [8, 6, 24, 18] and finding["points"] == [[12.8, 9.6], [19.2, 14.4]]
    assert finding["measurements"]["volume_ml"] is None, "one slice of three is not the region's volume"
    covered = finding["coverage"]
    assert not covered["complete"] and (covered["asked"], covered["carried"], covered["marked"]) == (1, 0, 1)
    assert covered["ends"] == ["unseen", "unseen"] and len(covered["reasons"]) == 2
    assert [flag["kind"] for flag in finding["flags"]] == ["coverage"]
    assert finding["measurements"]["area_mm2"] == pytest.approx(12 * 16 * 0.8 * 0.8)
    assert finding["key_sop_instance_uid"] == series.headers[1].SOPInstanceUID

    assert paths.seg is not None
    seg, report, capture = (dcmread(p) for p in (paths.seg, paths.report, paths.capture))
    assert answer["objects"] == {
        "seg": seg.SOPInstanceUID,
        "report": report.SOPInstanceUID,
        "capture": capture.SOPInstanceUID,
    }
    assert hd.seg.segread(paths.seg).get_total_pixel_matrix is not None and seg.pixel_array.sum() == finding["voxels"]
    assert seg.SOPInstanceUID in str(report), "the report refers to the segmentation"
    for one in (seg, report, capture):
        assert one.StudyInstanceUID == series.headers[0].StudyInstanceUID
    for path in (paths.seg, paths.report, paths.capture):
        assert dciodvfy_errors(path) == []
    with Image.open(paths.overlay) as picture:
        assert picture.width >= 768 and picture.info == {}


def test_nothing_found_gives_a_report_that_says_so_and_no_segmentation(series: Series, tmp_path: Path) -> None:
    found = write_outputs(grounder().ground(series, "Which?"), tmp_path)
    assert found.seg is not None and found.seg.is_file()
    silent = grounder(MiddleReasoner(least=999, otherwise=Reason.NOTHING_FOUND))
    paths = write_outputs(silent.ground(series, "Which?"), tmp_path)
    assert paths.seg is None and not (tmp_path / "seg.dcm").exists(), "the earlier one is not left beside it"
    answer = json.loads(paths.answer.read_text())
    assert answer["findings"][0]["status"] == "nothing found" and "seg" not in answer["objects"]
    told = [element.value for element in dcmread(paths.report).iterall() if element.keyword == "TextValue"]
    assert any("nothing to find" in text for text in told)
    assert dciodvfy_errors(paths.report) == []


def test_two_findings_are_two_segments_and_two_pictures(series: Series, tmp_path: Path) -> None:
    one = write_outputs(grounder().ground(series, "One?"), tmp_path / "one")
    two = write_outputs(grounder().ground(series, ["One?", "Two?"]), tmp_path / "two")
    assert two.seg is not None
    assert [s.SegmentNumber for s in dcmread(two.seg).SegmentSequence] == [1, 2]
    with Image.open(one.overlay) as single, Image.open(two.overlay) as double:
        assert double.width == single.width and double.height == 2 * single.height


def test_no_patient_data_outside_the_dicom_objects(tmp_path: Path) -> None:
    series = choose_series(carried("CT_small.dcm"))
    paths = write_outputs(grounder().ground(series, "Which part?"), tmp_path)
    header = series.headers[0]
    for secret in (str(header.PatientName), str(header.PatientID), header.InstitutionName):
        assert secret not in paths.answer.read_text()
        assert secret.encode() not in paths.overlay.read_bytes()


def test_earlier_results_stay_when_writing_fails(
    series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    result = grounder().ground(series, "First?")
    (out / ".partial-killed").mkdir(parents=True)
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
    with pytest.raises(InputError, match="taken is a file"):
        write_outputs(grounder().ground(series, "Which?"), tmp_path / "taken/below")


def test_a_colour_picture_is_answered_too(tmp_path: Path) -> None:
    series = choose_series(carried("SC_rgb_jpeg_gdcm.dcm"))
    paths = write_outputs(grounder().ground(series, "Which?"), tmp_path)
    assert paths.seg is not None and np.any(dcmread(paths.seg).pixel_array)


def test_answering_again_gives_the_same_objects_and_another_way_to_ask_gives_others(
    series: Series, tmp_path: Path
) -> None:
    def objects(name: str, **how: Any) -> tuple[dict[str, str], str]:
        written = write_outputs(grounder().ground(series, "Which part?", **how), tmp_path / name)
        answer = json.loads(written.answer.read_text())
        return answer["objects"], answer["findings"][0]["tracking_uid"]

    once, again = objects("once", slices=1), objects("again", slices=1)
    assert once == again
    elsewhere, tracked = objects("elsewhere", slices=2)
    assert tracked != once[1] and not set(elsewhere.values()) & set(once[0].values())


def test_the_picture_of_two_findings_refers_to_both_slices(series: Series, tmp_path: Path) -> None:
    result = grounder().ground(series, ["One?", "Two?"])
    one, two = result.findings
    result = replace(result, findings=(replace(one, key=0), replace(two, key=2)))
    shown = dcmread(write_outputs(result, tmp_path).capture).SourceImageSequence
    assert [i.ReferencedSOPInstanceUID for i in shown] == [series.sop_instance_uid(i) for i in (0, 2)]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (GroundingSettings(), "a single answer has none: ask for several answers"),
        (GroundingSettings(answers=3, slices=1, carry="on"), "slices that the mask is carried to have none"),
    ],
)
def test_a_fractional_segmentation_without_confidences_is_refused_before_a_model_runs(
    settings: GroundingSettings, reason: str, tmp_path: Path
) -> None:
    make_ct(tmp_path / "ct", 3)
    reasoner = MiddleReasoner()
    study = Study(tmp_path / "ct", (Question("Which part?"),))
    with pytest.raises(InputError, match=reason):
        ground_study(grounder(reasoner), study, tmp_path / "out", settings=settings, seg="fractional")
    assert reasoner.seen == [] and not (tmp_path / "out").exists()


def test_a_fractional_segmentation_of_several_answers_has_their_agreement(tmp_path: Path) -> None:
    make_ct(tmp_path / "ct", 3)
    study = Study(tmp_path / "ct", (Question("Which part?"),))
    settings = GroundingSettings(answers=3, slices="all")
    result, outputs = ground_study(grounder(), study, tmp_path / "out", settings=settings, seg="fractional")
    assert result.findings[0].confidence_kind == "agreement" and outputs.seg is not None
    seg = dcmread(outputs.seg)
    assert int(seg.pixel_array.max()) == 255, "three answers that agree"
    assert "not calibrated" in seg.SegmentSequence[0].SegmentDescription
