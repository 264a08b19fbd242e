"""A real archive for a while: Orthanc with DICOMweb, on the loopback address, with its database in a given folder."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from medreasoner_monai.pipeline.prefect_server import free_port
from medreasoner_monai.pipeline.processes import die_with_parent
from tests.integrations.servers import end, wait_for

PLUGIN = Path(os.environ.get("ORTHANC_DICOMWEB", "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"))
INSTALL = "Orthanc with DICOMweb is not installed: apt-get install orthanc orthanc-dicomweb"


def program() -> str | None:
    """Orthanc, where it is installed with its DICOMweb plugin."""
    names = ((name, path) for path in (None, "/usr/sbin") for name in ("Orthanc", "orthanc"))
    found = next((f for name, path in names if (f := shutil.which(name, path=path))), None)
    return found if PLUGIN.is_file() else None


@dataclass(frozen=True)
class Archive:
    """A running Orthanc."""

    url: str

    @property
    def dicomweb(self) -> str:
        """The root of QIDO-RS, WADO-RS and STOW-RS."""
        return f"{self.url}/dicom-web"

    def get(self, path: str, accept: str = "application/dicom+json") -> httpx.Response:
        """What DICOMweb answers."""
        headers = {"Accept": accept}
        return httpx.get(f"{self.dicomweb}/{path}", headers=headers, timeout=60, trust_env=False).raise_for_status()

    def store(self, *places: Path) -> None:
        """Store files, or all files of folders, over STOW-RS, each in a request of its own (PS3.18 10.5).

        Raises
        ------
        httpx.HTTPStatusError
            If one is refused.
        """
        border = b"a-border-that-no-file-contains"
        kind = f'multipart/related; type="application/dicom"; boundary={border.decode()}'
        headers = {"Content-Type": kind, "Accept": "application/dicom+json"}
        for path in _files(places):
            body = b"--%b\r\nContent-Type: application/dicom\r\n\r\n%b\r\n--%b--" % (border, path.read_bytes(), border)
            sent = httpx.post(f"{self.dicomweb}/studies", content=body, headers=headers, timeout=120, trust_env=False)
            sent.raise_for_status()


def _files(places: Iterable[Path]) -> list[Path]:
    return [f for p in places for f in (sorted(f for f in p.iterdir() if f.is_file()) if p.is_dir() else [p])]


@contextmanager
def running(folder: Path) -> Iterator[Archive]:
    """Orthanc until the block is left; nobody outside this machine reaches it.

    Raises
    ------
    RuntimeError
        If it is not installed, or does not answer.
    """
    found = program()
    if found is None:
        raise RuntimeError(INSTALL)
    port = free_port()
    settings = {
        "HttpPort": port,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "DicomServerEnabled": False,
        "StorageDirectory": str(folder / "database"),
        "IndexDirectory": str(folder / "database"),
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    log = folder / "orthanc.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [found, str(folder / "orthanc.json")],
            stdout=stream,
            stderr=stream,
            preexec_fn=die_with_parent,  # noqa: PLW1509 - one prctl call
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/system", process, log)
            yield Archive(f"http://127.0.0.1:{port}")
        finally:
            end(process)
