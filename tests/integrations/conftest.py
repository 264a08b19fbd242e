"""What the tests of the apps share: the environments, a bundle that answers, series, and an archive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import dcmread

from medreasoner_monai.orchestration import free_port
from tests.dicom.tools import CT_FOLDER, make_ct
from tests.integrations.answering import answering_bundle, silent_bundle

ROOT = Path(__file__).parents[2]
DICOMWEB = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


def python_of(name: str) -> Path:
    """The Python of an environment that ``make`` builds on demand."""
    return ROOT / f".venv-{name}/bin/python"


def needs(name: str) -> pytest.MarkDecorator:
    """Skips where that environment has not been built."""
    reason = f"there is no .venv-{name}: make {name}, or make test-integrations"
    return pytest.mark.skipif(not python_of(name).exists(), reason=reason)


def environment(**more: str) -> dict[str, str]:
    """This checkout's code, nothing configured by whoever runs the tests, and no proxy to ourselves."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "MONAI_LABEL_", "MEDREASONER_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", **more}


def bright_ct(folder: Path, slices: int = 3) -> Path:
    """A made CT, square, with a bright square in the middle of each slice."""
    for path in make_ct(folder, slices, shape=(112, 112)):
        dataset = dcmread(path)
        pixels = np.full((112, 112), 1000, dtype=np.int16)
        pixels[36:76, 36:76] += 300
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    return folder


def real_ct(folder: Path) -> Path:
    """The real CT's three slices, copied; skips where there are none."""
    if not CT_FOLDER.is_dir():
        pytest.skip("the real CT is not beside the repository (../shared/data/ct_abdomen_dicom)")
    folder.mkdir(parents=True)
    for path in sorted(CT_FOLDER.glob("*.dcm")):
        shutil.copyfile(path, folder / path.name)
    return folder


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers every question with the middle of the picture."""
    return answering_bundle(tmp_path_factory.mktemp("answering"))


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Answers nothing readable."""
    return silent_bundle(tmp_path_factory.mktemp("silent"))


@dataclass(frozen=True)
class Archive:
    """An Orthanc with DICOMweb."""

    url: str

    @property
    def dicomweb(self) -> str:
        return f"{self.url}/dicom-web"

    def store(self, folder: Path) -> None:
        for path in sorted(p for p in folder.iterdir() if p.is_file()):
            httpx.post(f"{self.url}/instances", content=path.read_bytes(), trust_env=False).raise_for_status()


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    program = shutil.which("Orthanc") or shutil.which("orthanc")
    if program is None or not DICOMWEB.is_file():
        pytest.skip("Orthanc with DICOMweb is not installed: apt-get install orthanc orthanc-dicomweb")
    folder, port = tmp_path_factory.mktemp("orthanc"), free_port()
    settings = {
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "Plugins": [str(DICOMWEB)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            wait_for(f"http://127.0.0.1:{port}/system", process, folder / "log")
            yield Archive(f"http://127.0.0.1:{port}")
        finally:
            end(process)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path, seconds: float = 180) -> None:
    """Until something answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(url, trust_env=False).is_success:
                return
        except httpx.RequestError:
            pass
        time.sleep(0.3)
    pytest.fail(f"nothing answers at {url}:\n{log.read_text(errors='replace')[-3000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
