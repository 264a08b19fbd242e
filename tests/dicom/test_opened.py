"""Headers are read once for any number of questions, and again when a file changed."""

import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.fileset import FileSet

from medreasoner_monai.dicom import series as module
from medreasoner_monai.dicom.opened import Opened
from medreasoner_monai.dicom.series import open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import make_ct, make_xray


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files whose headers were read, in order."""
    names: list[str] = []
    original = module.read_header

    def counted(path: Path, kept: object = None) -> object:
        names.append(path.name)
        return original(path, kept)

    monkeypatch.setattr(module, "read_header", counted)
    return names


def test_a_folder_that_was_found_is_asked_without_reading(tmp_path: Path, read: list[str]) -> None:
    for number in (1, 2):
        make_ct(tmp_path / str(number), 3, series_uid=f"1.2.826.0.1.{number}")
    found = open_dicom(tmp_path)
    assert len(read) == 6
    assert [found.choose(uid).uid[-1] for uid in ("0.1.1", "0.1.2", "auto")] == ["1", "2", "1"]
    assert len(read) == 6


def test_a_place_is_read_again_only_when_a_file_changed(tmp_path: Path, read: list[str]) -> None:
    opened = Opened()
    paths = make_ct(tmp_path / "ct", 3)
    first = opened.open(tmp_path / "ct")
    assert opened.open(str(tmp_path / "ct")) is first and len(read) == 3
    dataset = dcmread(paths[0])
    dataset.SeriesNumber = 77
    dataset.save_as(paths[0])
    os.utime(paths[0], ns=(1, 1))  # a clock of coarse steps would not tell
    assert opened.open(tmp_path / "ct") is not first and len(read) == 6
    paths[1].unlink()
    assert len(opened.open(tmp_path / "ct").choose()) == 2 and len(read) == 8


def test_an_archive_is_unpacked_once_and_a_dicomdir_watches_its_folder(tmp_path: Path, read: list[str]) -> None:
    opened = Opened()
    (path,) = make_ct(tmp_path / "ct", 1)
    with zipfile.ZipFile(tmp_path / "scan.zip", "w") as out:
        out.write(path, "slice")
    assert opened.open(tmp_path / "scan.zip") is opened.open(tmp_path / "scan.zip") and read == ["slice"]
    files = FileSet()
    files.add(path)
    files.write(tmp_path / "medium")
    opened.open(tmp_path / "medium/DICOMDIR")
    make_ct(tmp_path / "medium/more", 2)
    assert len(opened.open(tmp_path / "medium/DICOMDIR").series) == 2


def test_the_places_used_last_are_kept(tmp_path: Path, read: list[str]) -> None:
    opened = Opened(most=2)
    paths = [make_xray(tmp_path / name) for name in "abc"]
    for name in "abaca":
        opened.open(tmp_path / name)
    assert read == ["a", "b", "c"]
    opened.open(paths[1])
    assert read == ["a", "b", "c", "b"]


def test_what_cannot_be_read_is_tried_again(tmp_path: Path) -> None:
    opened = Opened()
    with pytest.raises(DicomError, match="no such file or folder"):
        opened.open(tmp_path / "x")
    make_xray(tmp_path / "x")
    assert len(opened.open(tmp_path / "x").choose()) == 1


def test_threads_get_the_same_answer(tmp_path: Path) -> None:
    opened = Opened(most=1)
    for name in "ab":
        make_ct(tmp_path / name, 2, series_uid=f"1.2.826.0.1.{ord(name)}")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: opened.open(tmp_path / "ab"[i % 2]).choose().uid, range(40)))
    assert found == [f"1.2.826.0.1.{ord('ab'[i % 2])}" for i in range(40)]
