"""What is written goes through a real archive: STOW-RS in, QIDO-RS and WADO-RS out (PS3.18)."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path
from typing import NamedTuple

import highdicom as hd
import numpy as np
import pytest
from pydicom import Dataset, dcmread

from medreasoner_monai.dicom.seg import SegKind
from medreasoner_monai.grounding.outputs import Outputs, write_outputs
from medreasoner_monai.grounding.result import GroundingResult
from tests.dicom.made import ORIGIN, a_finding, a_mask, make_series, nothing_found
from tests.dicom.tools import need_ct, paths_of
from tests.grounding.fakes import MiddleReasoner, grounder
from tests.integrations.viewer import orthanc
from tests.integrations.viewer.orthanc import Archive
from tests.integrations.viewer.reference import ORGANS, grounded_reference, reference_masks

MADE = ("US, clip", "DX", "CT, enhanced", "XC, two photographs")


class Stored(NamedTuple):
    archive: Archive
    sources: list[Path]
    outputs: Outputs
    study: str

    @property
    def objects(self) -> list[Path]:
        """The DICOM files of the answer."""
        return [p for p in (self.outputs.seg, self.outputs.report, self.outputs.capture) if p is not None]


@pytest.fixture(scope="module")
def own_archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """Empty, unlike the one that other tests fill."""
    if orthanc.program() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(orthanc.INSTALL)
    with orthanc.running(tmp_path_factory.mktemp("archive")) as archive:
        yield archive


@pytest.fixture(scope="module")
def stored(own_archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """The real CT, and the reference masks of three organs as an answer."""
    folder = need_ct()
    result = grounded_reference(folder)
    outputs = write_outputs(result, tmp_path_factory.mktemp("out"))
    found = Stored(own_archive, sorted(folder.glob("*.dcm")), outputs, str(result.series.headers[0].StudyInstanceUID))
    own_archive.store(*found.sources, *found.objects)
    return found


def retrieve(archive: Archive, path: str) -> list[Dataset]:
    """Instances as the archive gives them, in the transfer syntax that it holds."""
    answer = archive.get(path, 'multipart/related; type="application/dicom"; transfer-syntax=*')
    head = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + answer.content).get_payload()
    return [dcmread(io.BytesIO(part.get_payload(decode=True))) for part in parts]  # type: ignore[union-attr, arg-type]


def found_instances(archive: Archive, study: str) -> dict[str, tuple[str, str]]:
    """SOP class and series of each instance of a study, by its UID."""
    listed = archive.get(f"studies/{study}/instances").json()
    return {i["00080018"]["Value"][0]: (i["00080016"]["Value"][0], i["0020000E"]["Value"][0]) for i in listed}


def references(dataset: Dataset) -> set[tuple[str, str]]:
    """(SOP class, SOP instance) of every reference, however deep."""
    return {
        (str(item.ReferencedSOPClassUID), str(item.ReferencedSOPInstanceUID))
        for element in dataset.iterall()
        if element.VR == "SQ"
        for item in element.value
        if "ReferencedSOPInstanceUID" in item
    }


def test_the_answer_joins_the_images_study(stored: Stored) -> None:
    archive = stored.archive
    (study,) = [s for s in archive.get("studies").json() if s["0020000D"]["Value"] == [stored.study]]
    assert sorted(study["00080061"]["Value"]) == ["CT", "OT", "SEG", "SR"]
    listed = archive.get(f"studies/{stored.study}/series").json()
    assert sorted((s["00080060"]["Value"][0], s["00201209"]["Value"][0]) for s in listed) == [
        ("CT", 3),
        ("OT", 1),
        ("SEG", 1),
        ("SR", 1),
    ]


def test_every_object_comes_back_unchanged(stored: Stored) -> None:
    came = {d.SOPInstanceUID: d for d in retrieve(stored.archive, f"studies/{stored.study}")}
    sent = {d.SOPInstanceUID: d for d in map(dcmread, [*stored.sources, *stored.objects])}
    assert came.keys() == sent.keys() and len(sent) == 6
    for uid, dataset in sent.items():
        assert came[uid] == dataset
        assert came[uid].file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID


def test_the_masks_in_the_archive_are_the_reference_masks(stored: Stored) -> None:
    (header,) = stored.archive.get(f"studies/{stored.study}/series?Modality=SEG").json()
    (dataset,) = retrieve(stored.archive, f"studies/{stored.study}/series/{header['0020000E']['Value'][0]}")
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    buffer.seek(0)
    by_height = sorted((dcmread(p) for p in stored.sources), key=lambda d: float(d.ImagePositionPatient[2]))
    read = hd.seg.segread(buffer).get_pixels_by_source_instance([d.SOPInstanceUID for d in by_height])
    masks = reference_masks(need_ct())
    for number, name in enumerate(ORGANS):
        assert np.array_equal(read[..., number] > 0, masks[name])


def test_what_the_answer_refers_to_is_in_the_archive(stored: Stored) -> None:
    there = found_instances(stored.archive, stored.study)
    for path in stored.objects:
        wanted = references(dcmread(path))
        assert wanted
        assert {(there[uid][0], uid) for _, uid in wanted} == wanted


def test_the_reports_evidence_is_where_it_says(stored: Stored) -> None:
    there = found_instances(stored.archive, stored.study)
    report = dcmread(stored.outputs.report)
    assert stored.outputs.seg is not None
    evidence = {
        str(instance.ReferencedSOPInstanceUID): str(series.SeriesInstanceUID)
        for study in report.CurrentRequestedProcedureEvidenceSequence
        for series in study.ReferencedSeriesSequence
        for instance in series.ReferencedSOPSequence
    }
    assert [s.StudyInstanceUID for s in report.CurrentRequestedProcedureEvidenceSequence] == [stored.study]
    assert evidence == {uid: there[uid][1] for uid in evidence}
    sources = {str(dcmread(p).SOPInstanceUID) for p in stored.sources}
    assert evidence.keys() == sources | {str(dcmread(stored.outputs.seg).SOPInstanceUID)}
    assert {uid for _, uid in references(report)} <= evidence.keys()


@pytest.mark.parametrize("kind", ["fractional", "labelmap"])
def test_other_kinds_of_segmentation_come_back_unchanged(kind: SegKind, own_archive: Archive, tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    findings = (
        a_finding(series, {0: a_mask(series), 1: a_mask(series)}, confidence=0.6),
        a_finding(series, {1: a_mask(series, 12, 20)}, confidence=0.4),
    )
    outputs = write_outputs(GroundingResult(series, findings, ORIGIN, (0, 1)), tmp_path / "out", seg=kind)
    assert outputs.seg is not None
    own_archive.store(tmp_path / "in/ct", outputs.seg, outputs.report, outputs.capture)
    check_unchanged(own_archive, str(series.headers[0].StudyInstanceUID), outputs)


@pytest.mark.parametrize("kind", MADE)
def test_answers_about_other_images_join_their_study_too(kind: str, own_archive: Archive, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path / "in")
    last = len(series) - 1
    findings = (a_finding(series, {last: a_mask(series)}), nothing_found(series, [0]))
    outputs = write_outputs(GroundingResult(series, findings, ORIGIN, (0, last)), tmp_path / "out")
    assert outputs.seg is not None
    own_archive.store(*dict.fromkeys(paths_of(series)), outputs.seg, outputs.report, outputs.capture)
    check_unchanged(own_archive, str(series.headers[0].StudyInstanceUID), outputs)


def test_an_answer_that_is_given_again_is_kept_once(own_archive: Archive, tmp_path: Path) -> None:
    series = make_series("CT, three slices", tmp_path / "in")
    study = str(series.headers[0].StudyInstanceUID)

    def answer(name: str, digest: str) -> list[Path]:
        reasoner = MiddleReasoner()
        reasoner.digest = digest
        paths = write_outputs(grounder(reasoner).ground(series, "Which part?"), tmp_path / name).paths
        return [p for p in paths if p.suffix == ".dcm"]

    def counts() -> dict[str, int]:
        listed = own_archive.get(f"studies/{study}/instances").json()
        return dict(Counter(i["00080060"]["Value"][0] for i in listed))

    own_archive.store(tmp_path / "in/ct", *answer("once", "a" * 64))
    once = counts()
    own_archive.store(*answer("again", "a" * 64))
    assert counts() == once == {"CT": 3, "SEG": 1, "SR": 1, "OT": 1}
    own_archive.store(*answer("trained on", "b" * 64))
    now = counts()
    assert (now["SEG"], now["SR"]) == (2, 2), "another model's answer is another object"


def check_unchanged(archive: Archive, study: str, outputs: Outputs) -> None:
    assert outputs.seg is not None
    there = found_instances(archive, study)
    came = {d.SOPInstanceUID: d for d in retrieve(archive, f"studies/{study}")}
    for path in (outputs.seg, outputs.report, outputs.capture):
        dataset = dcmread(path)
        assert came[dataset.SOPInstanceUID] == dataset
        wanted = references(dataset)
        assert wanted and {(there[uid][0], uid) for _, uid in wanted} == wanted
