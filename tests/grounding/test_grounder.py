"""From a series and questions to findings, with models that need no weights."""

from pathlib import Path

import nrrd
import numpy as np
import pytest

from medreasoner_monai.cli.ground import _finding_lines
from medreasoner_monai.dicom import measures, report_groups
from medreasoner_monai.dicom.measures import measure
from medreasoner_monai.dicom.rules import AS_STORED, parse_rule
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import InputError
from medreasoner_monai.grounding import result as result_module
from medreasoner_monai.grounding.aggregate import score
from medreasoner_monai.grounding.outputs import write_outputs
from medreasoner_monai.grounding.request import GroundingSettings, Question
from medreasoner_monai.segmenters.registry import build
from medreasoner_monai.task.answer import Reason
from medreasoner_monai.task.findings import Finding, SliceResult
from tests.dicom.tools import make_ct, need_ct
from tests.grounding.fakes import BoxSegmenter, MiddleReasoner, grounder


@pytest.fixture
def series(tmp_path: Path) -> Series:
    make_ct(tmp_path / "ct", 3)
    return choose_series(tmp_path / "ct")


def test_every_slice_of_a_short_series_is_asked(series: Series) -> None:
    reasoner, steps = MiddleReasoner(), []
    result = grounder(reasoner).ground(series, "  Which\n part? ", progress=lambda *step: steps.append(step))
    assert reasoner.seen == [((24, 32), "Which part?")] * 3 and steps[-1] == (3, 3)
    (finding,) = result.findings
    assert [s.index for s in finding.slices] == [0, 1, 2] and finding.key == 0
    assert finding.status == "found" and finding.voxels == 3 * 12 * 16
    assert result.origin.model_version == "1.2.3" and result.origin.digests["data set"] == "d" * 64


def test_a_long_series_is_asked_on_candidates_and_the_best_is_carried(tmp_path: Path) -> None:
    make_ct(tmp_path, 20)
    series = choose_series(tmp_path)
    reasoner, steps = MiddleReasoner(), []
    result = grounder(reasoner).ground(series, "Which?", progress=lambda *step: steps.append(step))
    assert len(reasoner.seen) == 8 and len(result.asked) == 8
    (finding,) = result.findings
    assert finding.key == result.asked[0], "all fit their boxes alike: the first"
    # Every slice is brighter than the one before, so that the region soon looks like another.
    reached = [s.index for s in finding.slices]
    assert reached == list(range(reached[-1] + 1)) and 1 < reached[-1] < 19
    assert [s.carried for s in finding.slices] == [i != finding.key for i in reached]
    assert finding.stops[0] == "reached the first slice"
    assert finding.stops[1].startswith(f"stopped before slice {reached[-1] + 1}: likeness")
    assert [s.index for s in finding.candidates] == list(result.asked), "what the others answered is kept"
    done, total = zip(*steps, strict=True)
    assert list(done) == sorted(done) and set(total) == {8 + 19} and done[-1] == 27


def test_the_users_key_slice_is_kept(tmp_path: Path) -> None:
    make_ct(tmp_path, 20)
    result = grounder().ground(choose_series(tmp_path), "Which?", slices=4, carry="off")
    assert result.asked == (4,) and [s.index for s in result.findings[0].slices] == [4]


def test_each_question_is_a_finding_with_the_codes_it_was_given(series: Series) -> None:
    asked = [Question("Which organ makes bile?", "liver"), "What is bright?"]
    first, second = grounder().ground(series, asked).findings
    assert first.codes is not None and first.codes.property_type.meaning == "Liver" and first.coded_from == "given"
    assert second.codes is None and second.coded_from == ""
    assert first.tracking_uid != second.tracking_uid


@pytest.mark.parametrize(
    ("trace", "label"),
    [
        ("Beneath the diaphragm lies the liver.", "liver"),
        ("This is the Left Kidney, seen from below.", "kidney"),  # no outline of a body: no side
        ("A liver tumor.", "liver tumor"),
        ("Between the liver and the spleen.", None),
        ("The deliverer of bile.", None),
    ],
)
def test_a_trace_that_names_one_category_gives_the_codes(series: Series, trace: str, label: str | None) -> None:
    (finding,) = grounder(MiddleReasoner(trace=trace)).ground(series, "Which?").findings
    assert (None if finding.codes is None else finding.codes.label) == label
    assert finding.coded_from == ("trace" if label else "")


def test_a_category_that_is_none_is_refused_before_anything_is_asked(series: Series) -> None:
    reasoner = MiddleReasoner()
    with pytest.raises(InputError, match="Unknown category 'livre'.* Did you mean 'liver'"):
        grounder(reasoner).ground(series, [Question("Which?", "livre")])
    assert reasoner.seen == []


def test_slices_without_an_answer_are_kept_with_their_reason(series: Series) -> None:
    means = [np.mean(series.view(i).pixels) for i in range(3)]
    reasoner, segmenter = MiddleReasoner(least=means[1]), BoxSegmenter(least=means[2])
    (finding,) = grounder(reasoner, segmenter).ground(series, "Which?").findings
    assert [s.reason for s in finding.slices] == ["no answer block", "empty mask", ""]
    assert finding.key == 2 and list(finding.marked) == [2]


def test_nothing_found_and_an_abstention_are_answers(series: Series) -> None:
    silent = MiddleReasoner(least=999, otherwise=Reason.NOTHING_FOUND)
    (finding,) = grounder(silent).ground(series, "Which?").findings
    assert finding.status == "nothing found" and finding.voxels == 0 and "There is no such thing." in finding.reason
    unsure = GroundingSettings(answers=4, threshold=0.99)
    (finding,) = grounder(MiddleReasoner(spread=0.2)).ground(series, "Which?", settings=unsure).findings
    assert finding.status == "abstained" and "0.99 is asked for" in finding.reason


def test_candidates_are_ranked_by_agreement_then_by_how_the_mask_fits_its_box() -> None:
    (surer, fitting, loose) = (
        _candidate(0, 0.9, 10), _candidate(1, 0.8, 20), _candidate(2, 0.8, 10)
    )  # fmt: skip
    assert max([loose, fitting, surer], key=score) is surer
    assert max([loose, fitting], key=score) is fitting
    empty = SliceResult(3, None, "no answer block", None, 0.0)
    assert max([empty, loose], key=score) is loose


def _candidate(index: int, confidence: float, filled: int) -> SliceResult:
    reading = MiddleReasoner().answer([np.full((40, 40), 9, np.uint8)], ["?"])[0]
    mask = np.zeros((40, 40), dtype=bool)
    mask[10:30, 10 : 10 + filled] = True
    return SliceResult(index, reading.answer, "", mask, 0.0, confidence)  # type: ignore[arg-type]


def test_carrying_on_the_real_ct_finds_the_reference_liver_of_its_neighbours() -> None:
    from medreasoner_monai.segmenters.carry import carrier_of
    from medreasoner_monai.segmenters.protocol import Prompt
    from medreasoner_monai.task.keypoints import key_points, mask_box

    folder = need_ct()
    series = choose_series(folder)
    # NRRD has (x, y, z); the slices of this one are in the series' order.
    truth = nrrd.read(str(folder / "segmentations/liver_seg.nrrd"))[0].transpose(2, 1, 0) > 0
    segmenter = build("classical")
    carried = carrier_of(segmenter).carry(
        lambda i: series.view(i).pixels,
        len(series),
        1,
        Prompt(mask_box(truth[1]), key_points(truth[1])),
        truth[1],
        lambda _: None,
    )
    assert [one.index for one in carried.slices] == [0, 2], carried.stops
    for one in carried.slices:
        dice = 2 * (one.mask & truth[one.index]).sum() / (one.mask.sum() + truth[one.index].sum())
        print(f"slice {one.index}: Dice {dice:.3f}, confidence {one.confidence:.2f}")
        assert dice > 0.85


def test_slices_are_shown_by_the_rule_of_the_request_whose_digest_goes_into_the_provenance(series: Series) -> None:
    class Watching(MiddleReasoner):
        def answer(self, images, questions):  # type: ignore[no-untyped-def]
            self.means = [float(np.mean(i)) for i in images]
            return super().answer(images, questions)

    reasoner = Watching()
    usual = grounder(reasoner).ground(series, "Which?").origin
    assert reasoner.means == [series.view(i).pixels.mean() for i in range(3)]
    rule = parse_rule("window:100,50")
    result = grounder(reasoner).ground(series, "Which?", settings=GroundingSettings(rendering=rule))
    assert reasoner.means == [series.view(i, rule).pixels.mean() for i in range(3)]
    assert result.rendering is rule and result.origin.digests["rendering rule"] == rule.digest
    assert usual.digests["rendering rule"] == AS_STORED.digest != rule.digest


def test_a_finding_is_measured_once_however_many_outputs_tell_of_it(
    series: Series, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[str] = []

    def counting(of: Series, finding: Finding) -> measures.Measures:
        measured.append(finding.tracking_uid)
        return measure(of, finding)

    for module in (result_module, report_groups):
        monkeypatch.setattr(module, "measure", counting)
    result = grounder().ground(series, ["One?", "Two?"])
    write_outputs(result, tmp_path / "out")
    list(_finding_lines(result))
    assert sorted(measured) == sorted(f.tracking_uid for f in result.findings)
