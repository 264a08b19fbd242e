"""A full disk is told in one line, whichever library met it."""

from __future__ import annotations

import errno
import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medreasoner_monai.errors import ConfigError, DiskFullError, MedReasonerError, StageFailedError
from medreasoner_monai.pipeline.explain import explain_error

SIZE = 3_000_000


@pytest.fixture
def full(small_disk: Callable[[int], Path]) -> Path:
    """A folder on a disk of three megabytes, of which the last two hundred kilobytes are free."""
    folder = small_disk(3)
    (folder / "taken").write_bytes(b"x" * (SIZE - 200_000))
    return folder


def plain(folder: Path) -> None:
    (folder / "a.txt").write_bytes(b"x" * SIZE)


def opened(folder: Path) -> None:
    with (folder / "a.txt").open("wb", buffering=0) as f:
        while f.write(b"x" * SIZE):
            pass


def arrow(folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = np.random.default_rng(0).integers(0, 2**60, 500_000)
    pq.write_table(pa.table({"a": values}), folder / "a.parquet")


def safetensors(folder: Path) -> None:
    import torch
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1_000_000)}, folder / "a.safetensors")


def torch_save(folder: Path) -> None:
    import torch

    torch.save({"a": torch.zeros(1_000_000)}, folder / "a.pt")


def sqlite(folder: Path) -> None:
    with sqlite3.connect(folder / "a.db") as db:
        db.execute("create table t (x blob)")
        for _ in range(100):
            db.execute("insert into t values (?)", (b"x" * 100_000,))


def picture(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "a.png")


def dicom(folder: Path) -> None:
    from pydicom.data import get_testdata_file
    from pydicom.filereader import dcmread

    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PixelData = b"x" * SIZE
    dataset.save_as(folder / "a.dcm")


def mlflow(folder: Path) -> None:
    from mlflow import MlflowClient

    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").create_experiment("e")


@pytest.mark.parametrize(
    "write", [plain, opened, arrow, safetensors, torch_save, sqlite, picture, dicom, mlflow], ids=lambda w: w.__name__
)
def test_a_full_disk_is_known_whoever_writes(write: Callable[[Path], None], full: Path) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - what it is differs from library to library
        write(full)
    found = explain_error(caught.value, full, "grpo")
    assert isinstance(found, DiskFullError), repr(caught.value)
    text = str(found)
    assert text.startswith(f"the disk of {full} is full (grpo") and "of 3.1 MB are free" in text
    assert "the same command goes on from here" in text and "\n" not in text


def test_a_workers_last_words_count() -> None:
    failed = StageFailedError("grpo_worker ended with exit code 1: OSError: [Errno 28] No space left on device (x.log)")
    assert isinstance(explain_error(failed, Path("/tmp")), DiskFullError)


def test_what_an_error_came_from_counts() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/artifacts/x/metrics.json")
        finally:
            json.loads("{half")
    except ValueError as error:
        found = explain_error(error)
    assert "the disk of /tmp/artifacts/x is full (writing metrics.json)" in str(found)


def test_our_own_errors_stay_what_they_are_and_others_stay_unexplained() -> None:
    own = ConfigError("unknown key")
    assert explain_error(own) is own
    assert explain_error(ValueError("a bug")) is None
    assert explain_error(FileNotFoundError(2, "no such file", "x")) is None


def test_a_run_in_a_workspace_that_is_too_small_says_so_and_goes_on_with_more_room(
    small_disk: Callable[[int], Path],
) -> None:
    """Prefect's database finds no room; with room, a server starts in the same folder."""
    from medreasoner_monai.pipeline.prefect_server import prefect_server

    folder = small_disk(1)
    (folder / "taken").write_bytes(b"x" * 900_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        told = pytest.raises(DiskFullError, match="is full .starting the Prefect server.*same command goes on")
        with told, prefect_server(folder / "prefect", None):
            pass
        subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)
        with prefect_server(folder / "prefect", None) as url:
            assert url.startswith("http://127.0.0.1:")


def test_a_server_that_does_not_start_is_told_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medreasoner_monai.pipeline.prefect_server import prefect_server

    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_DATABASE_CONNECTION_URL", "oracle://nothing")
    with pytest.raises(MedReasonerError, match=r"did not start: .*oracle.*its log is"), prefect_server(tmp_path, None):
        pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts a disk in memory of so many megabytes; needs root."""
    mounted: list[Path] = []

    def mount(megabytes: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if done.returncode != 0:
            pytest.skip(f"no small disk may be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "-l", str(folder)], check=False)
