"""A real MLflow server on the loopback address, and a door in front of it that can be shut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx

from medreasoner_monai.pipeline.prefect_server import free_port
from tests.integrations.servers import wait_for


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The server's address; it keeps runs and artifacts in ``folder`` and lends artifacts through itself."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "kept")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            command, env=os.environ | quiet, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health", server, folder / "server.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


class Door:
    """Passes requests on to a server, or not, as ``state`` says: ``open``, ``shut``, ``refusing`` (503) or ``slow``.

    ``seen`` holds the method and path of each request that was let through.
    """

    def __init__(self, behind: str) -> None:
        self.behind, self.state, self.delay = behind, "open", 0.0
        self.seen: list[str] = []
        door = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if door.state == "shut":
                    self.connection.close()
                    return
                if door.state == "refusing":
                    self.send_error(503)
                    return
                if door.state == "slow":
                    time.sleep(door.delay)
                door.seen.append(f"{self.command} {self.path}")
                passed = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "content-length")}
                with httpx.Client(trust_env=False, timeout=60) as client:
                    answer = client.request(self.command, door.behind + self.path, content=body, headers=passed)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
