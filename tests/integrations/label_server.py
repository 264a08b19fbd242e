"""A real MONAI Label server with our app, and how to ask it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from medreasoner_monai.pipeline.prefect_server import free_port
from tests.integrations.conftest import ROOT, environment, python_of
from tests.integrations.servers import end, wait_for

MODEL = "medreasoner_grounding"


@dataclass(frozen=True)
class LabelServer:
    url: str
    log: Path
    temporary: Path
    """The server's own folder for temporary files."""

    def get(self, path: str, **query: Any) -> httpx.Response:
        return httpx.get(self.url + path, params=query, timeout=120, trust_env=False)

    def infer(self, image: str, output: str = "json", **params: Any) -> httpx.Response:
        return httpx.post(
            f"{self.url}/infer/{MODEL}",
            params={"image": image, "output": output},
            data={"params": json.dumps(params)},
            timeout=120,
            trust_env=False,
        )

    def train(self, body: dict[str, Any], **query: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/train/{MODEL}", params=query, json=body, timeout=120, trust_env=False)


@contextmanager
def label_server(folder: Path, bundle: Path, studies: Path | str, **conf: str) -> Iterator[LabelServer]:
    """Start the server as its documentation says, and end it."""
    python, port = python_of("monailabel"), free_port()
    made = [str(python), "-m", "medreasoner_monai.integrations.monailabel", str(folder / "app")]
    subprocess.run(made, check=True, env=environment(), cwd=ROOT, capture_output=True)
    (folder / "tmp").mkdir()
    command = [str(python), "-m", "monailabel.main", "start_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--app", str(folder / "app"), "--studies", str(studies)]
    for name, value in {"bundle": str(bundle), **conf}.items():
        command += ["--conf", name, value]
    places = {
        "HOME": str(folder),
        "TMPDIR": str(folder / "tmp"),
        "MONAI_LABEL_DICOMWEB_CACHE_PATH": str(folder / "cache"),
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment(**places), cwd=folder)
        try:
            wait_for(f"http://127.0.0.1:{port}/info/", process, folder / "log")
            yield LabelServer(f"http://127.0.0.1:{port}", folder / "log", folder / "tmp")
        finally:
            end(process)
