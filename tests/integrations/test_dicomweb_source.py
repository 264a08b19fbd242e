"""Curation reads a real archive over DICOMweb as it reads the files that the archive was given."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medreasoner_monai.data.labelled import LabelledImage
from medreasoner_monai.data.rejects import Reject
from medreasoner_monai.data.sources import dicomweb_archive
from medreasoner_monai.data.sources.dicom_folder import DicomSource
from medreasoner_monai.data.sources.dicomweb_archive import DicomwebSource
from medreasoner_monai.data.sources.protocol import Unit
from medreasoner_monai.dicom.saving import save
from medreasoner_monai.dicom.seg import build_seg
from medreasoner_monai.dicom.series import choose_series
from medreasoner_monai.errors import ConfigError, DicomError, InputError
from medreasoner_monai.settings.sources import DicomSettings, DicomwebSettings, SliceSettings
from tests.data.sources.rtstruct import square, write_rtstruct
from tests.data.sources.volumes import items, pictures
from tests.dicom.made import ORIGIN, a_finding, a_mask
from tests.dicom.tools import make_ct
from tests.integrations.viewer import orthanc
from tests.integrations.viewer.orthanc import Archive

ALL = SliceSettings(take="all", min_area_mm2=0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    if orthanc.program() is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(orthanc.INSTALL)
    with orthanc.running(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing between us and the loopback address."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture(scope="module")
def studies(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A study with a SEG, one with an RTSTRUCT, one with images alone; the folder of their files, and their UIDs."""
    folder, uids = tmp_path_factory.mktemp("studies"), []
    for number in range(3):
        make_ct(folder / f"ct{number}", 3)
        series = choose_series(folder / f"ct{number}")
        uids.append(str(series.headers[0].StudyInstanceUID))
        if number == 0:
            found = a_finding(series, {1: a_mask(series), 2: a_mask(series, 3, 12, 5, 20)})
            save(build_seg(series, [found], ORIGIN), folder / "seg.dcm")
        if number == 1:
            write_rtstruct(folder / "rt.dcm", series, {"Liver": [square(series, 0, 2.5, 3.5, 6.5, 9.5)]})
    archive.store(*(folder / f"ct{n}" for n in range(3)), folder / "seg.dcm", folder / "rt.dcm")
    return folder, uids


def source(url: str, **settings: object) -> DicomwebSource:
    return DicomwebSource(DicomwebSettings(kind="dicomweb", url=url, slices=ALL, **settings))  # type: ignore[arg-type]


def test_the_archive_gives_what_the_files_give(archive: Archive, studies: tuple[Path, list[str]]) -> None:
    folder, uids = studies
    held = items(source(archive.dicomweb, studies=uids))
    files = pictures(items(DicomSource(DicomSettings(kind="dicom", path=folder, slices=ALL))))
    assert len(files) == 3
    by_id: dict[str, LabelledImage] = {picture.id: picture for picture in pictures(held)}
    assert by_id.keys() == {picture.id for picture in files}
    for theirs in files:
        ours = by_id[theirs.id]
        assert np.array_equal(ours.image, theirs.image) and ours.group == theirs.group
        assert ours.stored is not None and theirs.stored is not None and np.array_equal(ours.stored, theirs.stored)
        assert [t.name for t in ours.targets] == [t.name for t in theirs.targets]
        assert all(np.array_equal(a.mask, b.mask) for a, b in zip(ours.targets, theirs.targets, strict=True))
        assert replace(ours.origin, source="", file="") == replace(theirs.origin, source="", file="")
    (nothing,) = [i for i in held if isinstance(i, Reject)]
    assert nothing.masks == 0 and "no DICOM-SEG and no RTSTRUCT" in nothing.reason


def test_a_query_finds_studies_and_the_source_travels(archive: Archive, studies: tuple[Path, list[str]]) -> None:
    _, uids = studies
    given = source(archive.dicomweb, query={"ModalitiesInStudy": "SEG"})
    assert [unit.key for unit in given.units()] == uids[:1]
    assert given.identity() == pickle.loads(pickle.dumps(given)).identity()
    with pytest.raises(InputError, match="no study that matches the query"):
        list(source(archive.dicomweb, query={"ModalitiesInStudy": "XA"}).units())


def test_a_study_that_is_not_there_is_set_aside(archive: Archive) -> None:
    (reject,) = items(source(archive.dicomweb, studies=["1.2.3.4"]))
    assert isinstance(reject, Reject) and "or is not there" in reject.reason


def test_an_archive_that_fails_ends_the_run_and_rejects_nothing(
    archive: Archive, studies: tuple[Path, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is finished is kept, and the rest may be had later: a reject would be for good."""
    given = source(archive.dicomweb, studies=studies[1][:1])
    client = given._client
    client.set_http_retry_params(retry=False)
    fetch = client.retrieve_instance

    def fails(*args: object, **kwargs: object) -> object:
        raise ConnectionError

    monkeypatch.setattr(client, "retrieve_instance", fails)
    with pytest.raises(DicomError, match=r"cannot be had \(ConnectionError\)"):
        list(given.read(Unit(studies[1][0])))
    monkeypatch.setattr(client, "retrieve_instance", fetch)
    assert len(pictures(given.read(Unit(studies[1][0])))) == 2  # type: ignore[arg-type]


def test_a_token_comes_from_the_environment(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="ARCHIVE_TOKEN"):
        list(source(archive.dicomweb, query={"Modality": "CT"}, token_env="ARCHIVE_TOKEN").units())
    monkeypatch.setenv("ARCHIVE_TOKEN", "t0ken")
    headers = dicomweb_archive._client(archive.dicomweb, "ARCHIVE_TOKEN")._session.headers
    assert headers["Authorization"] == "Bearer t0ken"
