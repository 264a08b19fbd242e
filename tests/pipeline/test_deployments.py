"""Runs are started on a real Prefect server, by REST alone."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import UUID

import pytest

from medreasoner_monai.errors import ConfigError, InputError, MedReasonerError
from medreasoner_monai.pipeline.deployments import start_deployment
from medreasoner_monai.pipeline.prefect_server import free_port, prefect_server

SCHEMA = {
    "type": "object",
    "properties": {"config": {"type": "string"}, "workspace": {"type": "string"}},
    "required": ["config"],
}


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server with the deployment ``retrain/scheduled``."""
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with prefect_server(home, None) as url:
            from prefect.client.orchestration import SyncPrefectClient

            with SyncPrefectClient(url) as client:
                flow = client.create_flow_from_name("retrain")
                client.create_deployment(
                    flow,
                    "scheduled",
                    parameters={"config": "starter.yaml", "workspace": "runs/scheduled"},
                    parameter_openapi_schema=SCHEMA,
                    enforce_parameter_schema=True,
                )
            yield url


def read(url: str, run: str):
    from prefect.client.orchestration import SyncPrefectClient

    with SyncPrefectClient(url) as client:
        return client.read_flow_run(UUID(run))


def test_a_run_is_scheduled_with_the_deployments_parameters(server: str) -> None:
    started = start_deployment("retrain/scheduled", api_url=server)
    run = read(server, started["id"])
    assert started == {
        "id": str(run.id),
        "name": run.name,
        "state": "Scheduled",
        "url": f"{server.removesuffix('/api')}/runs/flow-run/{run.id}",
    }
    assert run.state is not None and run.state.is_scheduled()
    assert run.parameters == {"config": "starter.yaml", "workspace": "runs/scheduled"}


def test_given_parameters_replace_the_deployments_own(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", server + "/")
    started = start_deployment("retrain/scheduled", {"workspace": "elsewhere"})
    assert read(server, started["id"]).parameters == {"config": "starter.yaml", "workspace": "elsewhere"}


def test_an_unknown_deployment_is_named_with_its_neighbours(server: str) -> None:
    with pytest.raises(InputError, match="Did you mean 'retrain/scheduled'.*There are: retrain/scheduled"):
        start_deployment("retrain/schedule", api_url=server)


def test_parameters_that_the_flow_does_not_take_are_refused(server: str) -> None:
    with pytest.raises(InputError, match=r"refuses the request \(4\d\d\).*config"):
        start_deployment("retrain/scheduled", {"config": 3}, server)


def test_an_address_beside_the_api_is_told_apart_from_a_missing_deployment(server: str) -> None:
    with pytest.raises(MedReasonerError, match="is no Prefect server; give the address of its API"):
        start_deployment("retrain/scheduled", api_url=server + "/v9")


def test_no_server_is_said_with_what_to_do() -> None:
    url = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(MedReasonerError, match=r"no Prefect server answers at .*\(ConnectError\); start one"):
        start_deployment("retrain/scheduled", api_url=url)


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("retrain", "http://127.0.0.1:1/api", "is named flow/deployment"),
        ("a/b/c", "http://127.0.0.1:1/api", "is named flow/deployment"),
        ("retrain/scheduled", None, "none is given: name it in the settings, or in PREFECT_API_URL"),
        ("retrain/scheduled", "127.0.0.1:4200", "got '127.0.0.1:4200'"),
        ("retrain/scheduled", "http://127.0.0.1:port/api", "is no address"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_asked(name: str, url: str | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        start_deployment(name, api_url=url)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """A server that wants credentials and gets none that it likes; what it was sent."""
    seen: list[str] = []

    class Guard(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"exception_message": "Unauthorized"}')

        def log_message(self, *_: object) -> None: ...

    guard = ThreadingHTTPServer(("127.0.0.1", 0), Guard)
    threading.Thread(target=guard.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{guard.server_port}/api", seen
    guard.shutdown()
    guard.server_close()


def test_credentials_are_those_of_prefects_own_settings(
    guarded: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, seen = guarded
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "admin:word")
    with pytest.raises(ConfigError, match="refuses the credentials") as caught:
        start_deployment("retrain/scheduled", api_url=url)
    monkeypatch.setenv("PREFECT_API_KEY", "pnu_1")
    with pytest.raises(ConfigError):
        start_deployment("retrain/scheduled", api_url=url)
    assert seen == ["Basic " + base64.b64encode(b"admin:word").decode(), "Bearer pnu_1"]
    assert "word" not in str(caught.value)


@pytest.fixture
def busy() -> Iterator[tuple[str, list[dict[str, object]]]]:
    """A server that answers "database is locked" (503) twice before it starts a run; the bodies it was sent."""
    bodies: list[dict[str, object]] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"id": "d"})

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            if len(bodies) <= 2:
                self.answer(503, {"exception_message": "Service Unavailable"})
            else:
                self.answer(201, {"id": "r", "name": "run", "state": {"name": "Scheduled"}})

        def answer(self, status: int, body: dict[str, object]) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/api", bodies
    server.shutdown()
    server.server_close()


def test_a_server_that_is_busy_is_asked_again_for_the_same_run(
    busy: tuple[str, list[dict[str, object]]],
) -> None:
    url, bodies = busy
    assert start_deployment("retrain/scheduled", api_url=url)["id"] == "r"
    assert len(bodies) == 3
    (key,) = {body["idempotency_key"] for body in bodies}
    assert key


def test_a_server_that_stays_busy_is_named(
    busy: tuple[str, list[dict[str, object]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medreasoner_monai.pipeline.deployments.WAIT_SECONDS", 0.1)
    with pytest.raises(MedReasonerError, match=r"failed \(503\)"):
        start_deployment("retrain/scheduled", api_url=busy[0])


def test_the_bundles_train_workflow_starts_a_run(server: str, untrained_bundle: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [
            *(sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/train.json"),
            *("--prefect_api_url", server, "--parameters", "{'config': 'mine.yaml'}"),
        ],
        cwd=untrained_bundle,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "started retrain/scheduled: run " in line]
    run = read(server, line.split("run ")[1].split(",")[0])
    assert run.parameters == {"config": "mine.yaml", "workspace": "runs/scheduled"}
