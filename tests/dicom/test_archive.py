"""Zip archives, whoever made them."""

import gc
import random
import zipfile
from pathlib import Path

import pytest

from medreasoner_monai.dicom import archive
from medreasoner_monai.dicom.series import choose_series, open_dicom
from medreasoner_monai.errors import DicomError
from tests.dicom.tools import make_ct, paths_of


def zipped(tmp_path: Path, slices: int = 3) -> Path:
    path = tmp_path / "scan.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for i, file in enumerate(make_ct(tmp_path / "ct", slices)):
            out.write(file, f"study/series\\{i}" if i % 2 else f"study/series/{i}")
        out.writestr("study/report.txt", "not DICOM")
    return path


def test_an_archive_is_read_like_the_folder_in_it(tmp_path: Path) -> None:
    series = choose_series(zipped(tmp_path))
    plain = choose_series(tmp_path / "ct")
    assert series.uid == plain.uid and series.shape == plain.shape
    for i in range(3):
        assert (series.view(i).pixels == plain.view(i).pixels).all()


def test_the_temporary_folder_goes_with_the_last_series(tmp_path: Path) -> None:
    found = open_dicom(zipped(tmp_path)).series
    folder = paths_of(found[0])[0].parents[2]
    assert folder.name == "scan.zip" and folder.is_dir(), "messages name the archive"
    series = found[0]
    del found
    gc.collect()
    assert folder.is_dir(), "still in use"
    del series
    gc.collect()
    assert not folder.parent.exists()


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out", "..\\out", "C:\\out"])
def test_an_archive_that_leads_outside_is_refused(tmp_path: Path, name: str) -> None:
    path = zipped(tmp_path)
    with zipfile.ZipFile(path, "a") as out:
        member = zipfile.ZipInfo("x")
        member.filename = name  # as the writer would not let it be
        out.writestr(member, (tmp_path / "ct" / "file30").read_bytes())
    with pytest.raises(DicomError, match=r"scan.zip: the zip archive names a file outside itself"):
        choose_series(path)


def test_a_link_in_an_archive_is_no_link_any_more(tmp_path: Path) -> None:
    path = zipped(tmp_path)
    link = zipfile.ZipInfo("study/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as out:
        out.writestr(link, "/etc/passwd")
    assert len(choose_series(path)) == 3


def test_a_bomb_is_refused_by_what_it_declares(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("zeros", bytes(1 << 24))
    with pytest.raises(DicomError, match="no DICOM file found"):
        choose_series(path)
    monkeypatch.setattr(archive, "_SUSPICIOUS_BYTES", 1 << 23)
    with pytest.raises(DicomError, match="or to 200 times its size"):
        choose_series(path)


def test_a_bomb_that_declares_less_is_stopped_by_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path)
    monkeypatch.setattr(archive, "_check", lambda *_: None)
    monkeypatch.setattr(archive, "MOST_BYTES", 4000)
    with pytest.raises(DicomError, match="unpacks to more than"):
        choose_series(path)


def test_a_member_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, 1)
    data = bytearray(path.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (300).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(DicomError, match="cannot be unpacked"):
        choose_series(path)


def test_an_encrypted_archive_says_so(tmp_path: Path) -> None:
    path = zipped(tmp_path, 1)
    data = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + flags] |= 1
    path.write_bytes(data)
    with pytest.raises(DicomError, match="damaged, encrypted"):
        choose_series(path)


def test_damaged_archives_never_leave_anything_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = zipped(tmp_path).read_bytes()
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(archive.tempfile, "tempdir", str(folder))
    for seed in range(15):
        rng = random.Random(seed)
        data = bytearray(whole)
        for _ in range(5):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path = tmp_path / "damaged.zip"
        path.write_bytes(data[: rng.randrange(len(data) // 2, len(data))] if seed % 3 == 0 else data)
        try:
            series = choose_series(path)
            assert 1 <= len(series) <= 3
            del series
        except DicomError as error:
            assert "damaged.zip" in str(error)  # noqa: PT017 - some are whole enough
        gc.collect()
        assert list(folder.iterdir()) == []


def test_an_archive_in_a_folder_is_hinted_at(tmp_path: Path) -> None:
    (tmp_path / "only").mkdir()
    zipped(tmp_path).rename(tmp_path / "only/scan.zip")
    with pytest.raises(DicomError, match=r"among them 1 zip archive\(s\): give one itself"):
        choose_series(tmp_path / "only")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(DicomError, match="no DICOM file found"):
        choose_series(tmp_path / "empty.zip")
