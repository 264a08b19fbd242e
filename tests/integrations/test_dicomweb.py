"""Series are read from a real archive over DICOMweb as from the files it was given."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from medreasoner_monai.dicom.dicomweb import open_dicomweb
from medreasoner_monai.dicom.report import build_report
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import Series, choose_series
from medreasoner_monai.errors import DicomError
from tests.dicom.made import ORIGIN, a_finding, a_mask, make_series
from tests.dicom.tools import carried, dciodvfy_errors, make_ct, need_ct, paths_of
from tests.integrations.viewer import orthanc
from tests.integrations.viewer.orthanc import Archive


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if orthanc.program() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(orthanc.INSTALL)
    with orthanc.running(tmp_path_factory.mktemp("archive")) as running:
        yield running


class Counted(DICOMwebClient):
    """Counts the instances it fetches."""

    fetched = 0

    def retrieve_instance(self, *args: object, **kwargs: object) -> Dataset:
        self.fetched += 1
        return super().retrieve_instance(*args, **kwargs)  # type: ignore[arg-type]


def client(archive: Archive) -> Counted:
    session = requests.Session()
    session.trust_env = False  # no proxy between us and the loopback address
    return Counted(archive.dicomweb, session=session)


def stored(archive: Archive, series: Series) -> tuple[str, Counted]:
    archive.store(*paths_of(series))
    return str(series.headers[0].StudyInstanceUID), client(archive)


@pytest.mark.parametrize(
    "kind", ["CT, three slices", "CT, oblique and not square", "CT, enhanced", "DX", "US, clip", "XC, two photographs"]
)
def test_the_archive_and_the_files_make_one_series(kind: str, archive: Archive, tmp_path: Path) -> None:
    series = make_series(kind, tmp_path)
    study, asked = stored(archive, series)
    held = open_dicomweb(asked, study, series.uid).choose()
    assert asked.fetched == 0, "headers come from the metadata"
    assert (held.uid, held.shape, held.spacing, held.slice_distance, held.in_space) == (
        series.uid,
        series.shape,
        series.spacing,
        series.slice_distance,
        series.in_space,
    )
    for index in range(len(series)):
        ours, theirs = held.view(index), series.view(index)
        assert np.array_equal(ours.pixels, theirs.pixels)
        assert (ours.source, ours.voi, ours.spacing) == (theirs.source, theirs.voi, theirs.spacing)
        assert held.position(index) == series.position(index)
    assert asked.fetched == len(series.headers), "an instance once, not a frame each"


def test_a_compressed_image_comes_as_it_is_stored(archive: Archive) -> None:
    series = choose_series(carried("MR_small_RLE.dcm"))
    study, asked = stored(archive, series)
    held = open_dicomweb(asked, study, series.uid).choose()
    assert np.array_equal(held.view(0).pixels, series.view(0).pixels)
    assert held.load(0)[0].file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"


def test_an_answer_about_a_real_ct_in_the_archive_is_valid(archive: Archive, tmp_path: Path) -> None:
    series = choose_series(need_ct())
    study, asked = stored(archive, series)
    held = open_dicomweb(asked, study, series.uid).choose()
    findings = [a_finding(held, {0: a_mask(held, 100, 200, 150, 260), 1: a_mask(held, 120, 180, 150, 260)})]
    seg = build_seg(held, findings, ORIGIN)
    from_files = build_seg(series, findings, ORIGIN)
    report = build_report(held, findings, ORIGIN, seg=seg)
    assert seg.PixelData == from_files.PixelData and seg.PatientID == from_files.PatientID
    frames = [seg.PerFrameFunctionalGroupsSequence, from_files.PerFrameFunctionalGroupsSequence]
    assert frames[0] == frames[1]
    for name, dataset in (("seg.dcm", seg), ("sr.dcm", report)):
        save(dataset, tmp_path / name)
        assert dciodvfy_errors(tmp_path / name) == []


def test_several_series_of_a_study_are_chosen_from(archive: Archive, tmp_path: Path) -> None:
    paths = [*make_ct(tmp_path / "a", 2), *make_ct(tmp_path / "b", 3)]
    study = str(dcmread(paths[0]).StudyInstanceUID)
    for path in paths[2:]:
        dataset = dcmread(path)
        dataset.StudyInstanceUID = study
        dataset.save_as(path)
    archive.store(*paths)
    found = open_dicomweb(client(archive), study)
    with pytest.raises(DicomError, match=f"study …{study[-12:]} of the archive: holds 2 image series"):
        found.choose()
    assert len(found.choose("auto")) == 3


def test_what_the_archive_does_not_give_is_said(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(DicomError, match=r"study …1.2.3.4 of the archive cannot be had \(status 404\); check the UIDs"):
        open_dicomweb(client(archive), "1.2.3.4")
    (path,) = make_ct(tmp_path, 1)
    study, asked = stored(archive, series := choose_series(path))
    held = open_dicomweb(asked, study, series.uid).choose()
    with httpx.Client(base_url=archive.url, trust_env=False) as orthanc_api:
        for known in orthanc_api.get("/studies").json():
            orthanc_api.delete(f"/studies/{known}").raise_for_status()
    with pytest.raises(DicomError, match=r"instance …[0-9.]{12} of the archive cannot be had \(status 404\)"):
        held.view(0)
    nobody = DICOMwebClient("http://127.0.0.1:9/dicom-web", session=asked._session)
    nobody.set_http_retry_params(retry=False)
    with pytest.raises(DicomError, match=r"cannot be had \(ConnectionError\)"):
        open_dicomweb(nobody, study)
