"""OHIF in front of an archive: its files, and the archive's DICOMweb under the same address, to read only."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from medreasoner_monai import RESEARCH_USE

ANSWERS = Path(__file__).with_name("answers.js")
_KEPT = ("content-type", "content-disposition")


def app_config() -> str:
    """What OHIF is told (`app-config.js`): one data source, beside it, and to show our reports as text too."""
    source = {
        "friendlyName": "Results",
        "name": "results",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "wadoUriRoot": "/wado",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "supportsFuzzyMatching": False,
        "supportsWildcard": True,
        "supportsReject": False,
        "omitQuotationForMultipartRequest": True,
        "bulkDataURI": {"enabled": True},
    }
    config = {
        "routerBasename": None,
        "extensions": [],
        "modes": [],
        "customizationService": {},
        "showStudyList": True,
        "maxNumberOfWebWorkers": 2,
        "showWarningMessageForCrossOrigin": False,
        "showCPUFallbackMessage": False,
        "investigationalUseDialog": {"option": "always"},
        "defaultDataSourceName": "results",
        "dataSources": [
            {
                "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
                "sourceName": "results",
                "configuration": source,
            }
        ],
    }
    answers = ANSWERS.read_text(encoding="utf-8")
    return f"// {RESEARCH_USE}\nwindow.config = {json.dumps(config, indent=2)};\n{answers}"


@contextmanager
def serving(dist: Path, archive: str, port: int = 0) -> Iterator[str]:
    """The viewer's address, on the loopback, until the block is left.

    Parameters
    ----------
    dist:
        OHIF's built files.
    archive:
        Address of the Orthanc, without ``/dicom-web``.
    port:
        To listen on; any free one by default.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _handler(dist.resolve(), archive, app_config().encode()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(dist: Path, archive: str, config: bytes) -> type[BaseHTTPRequestHandler]:
    client = httpx.Client(base_url=archive, timeout=120, trust_env=False)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if self.headers.get("Host", "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
                self._answer(403, b"", {})  # a page of another name must not read patients' images through us
            elif path.startswith("/dicom-web/"):
                self._pass_on()
            elif path == "/app-config.js":
                self._answer(200, config, {"content-type": "text/javascript"})
            else:
                self._file(path)

        def _pass_on(self) -> None:
            # The archive writes the addresses of bulk data with the host that it was asked by: ours.
            headers = {k: v for k, v in self.headers.items() if k.lower() in ("accept", "host", "range")}
            got = client.get(self.path, headers=headers)
            self._answer(got.status_code, got.content, {k: v for k, v in got.headers.items() if k.lower() in _KEPT})

        def _file(self, path: str) -> None:
            file = (dist / path.lstrip("/")).resolve()
            if not file.is_relative_to(dist) or not file.is_file():
                if "." in path.rpartition("/")[2]:
                    self._answer(404, b"", {})
                    return
                file = dist / "index.html"  # an address within the app
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            self._answer(200, file.read_bytes(), {"content-type": kind})

        def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            # With both, the browser lets the viewer share memory between its workers.
            self.send_header("Cross-Origin-Opener-Policy", "same-origin")
            self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Addresses name studies: nothing is logged."""

    return Handler
