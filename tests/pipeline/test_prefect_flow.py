"""Flows on a real Prefect server: their log lines reach its pages, and they outlive it."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from medreasoner_monai.errors import ConfigError, DiskFullError
from medreasoner_monai.pipeline import prefect_flow
from medreasoner_monai.pipeline.context import show_on
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.pipeline.prefect_logs import send_logs
from medreasoner_monai.pipeline.prefect_server import prefect_server, running_server, send_last_logs
from medreasoner_monai.pipeline.progress import LogProgress, TerminalProgress


@contextmanager
def server_in(home: Path) -> Iterator[tuple[str, int]]:
    """A Prefect server of its own and its process; Prefect's client gives up soon."""
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PREFECT_API_URL", raising=False)
        patch.setenv("PREFECT_HOME", str(home))
        with prefect_server(home, None) as url, temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 1}):
            yield url, json.loads((home / "server.json").read_text())["pid"]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[tuple[str, int]]:
    with server_in(home) as found:
        yield found


@pytest.fixture
def ours() -> Iterator[logging.Logger]:
    """Our logger without handlers, as on a Prefect worker."""
    found = [logging.getLogger(name) for name in ("medreasoner", "medreasoner.page")]
    before = [(logger, logger.handlers[:], logger.level) for logger in found]
    for logger in found:
        logger.handlers.clear()
    yield found[0]
    for logger, handlers, level in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)


def lines_of(flow_name: str) -> list[str]:
    """What the server's page of the last run of a flow shows of our lines."""
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName, LogFilter, LogFilterFlowRunId

    send_last_logs()
    with SyncPrefectClient(os.environ["PREFECT_API_URL"]) as client:
        (run,) = client.read_flow_runs(flow_filter=FlowFilter(name=FlowFilterName(any_=[flow_name])))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            logs = client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[run.id])))
            if found := [log.message for log in logs if log.name.startswith("medreasoner")]:
                return found
            time.sleep(0.3)
    return []


def test_progress_is_on_the_runs_page(server: tuple[str, int], ours: logging.Logger) -> None:
    send_logs()

    @flow(name="plain")
    def plain() -> None:
        LogProgress("grpo", every=0).step(3, 3, reward=0.5)

    ours.info("outside of a run, this goes nowhere")
    plain()
    assert lines_of("plain") == ["grpo: 3/3, reward 0.5"]


def test_progress_that_a_terminal_shows_as_bars_is_on_the_page_too(
    server: tuple[str, int], ours: logging.Logger
) -> None:
    send_logs()

    @flow(name="live")
    def live() -> None:
        with TerminalProgress().stage("grpo") as watch:
            watch.step(3, 3, reward=0.5)
            watch.warn("alarm at step 3")

    live()
    show_on(None)
    assert lines_of("live") == ["grpo: 3/3, reward 0.5", "grpo: alarm at step 3"]


def test_errors_are_explained_and_ours_stay(server: tuple[str, int], tmp_path: Path) -> None:
    @flow(name="full")
    def full(workspace: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    @flow(name="wrong")
    def wrong() -> None:
        raise ConfigError("unknown key")

    with pytest.raises(DiskFullError, match="is full .full.*the same command goes on"):
        full(tmp_path)
    with pytest.raises(ConfigError, match="unknown key"):
        wrong()


def test_a_second_process_finds_the_server_that_runs(
    server: tuple[str, int], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pid = server
    assert running_server(home) == url and running_server(tmp_path) is None
    monkeypatch.delenv("PREFECT_API_URL")  # as in another process, which knows the folder alone
    with prefect_server(home, None) as found:
        assert found == url
    assert running_server(home) == url
    os.kill(pid, signal.SIGSTOP)
    assert running_server(home) is None
    os.kill(pid, signal.SIGCONT)


def test_a_run_outlives_its_server(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done: list[str] = []

    @flow(name="stage")
    def stage(name: str) -> str:
        done.append(name)
        return name

    @flow(name="broken")
    def broken() -> None:
        done.append("broken")
        raise ConfigError("a mistake of the user's")

    caplog.set_level(logging.WARNING, "medreasoner")
    with server_in(tmp_path) as (url, pid):

        @flow(name="dying")
        def dying() -> str:
            os.kill(pid, signal.SIGKILL)
            return "trained"

        @flow(name="interrupted")
        def interrupted() -> None:
            raise KeyboardInterrupt

        @flow(name="chain")
        def chain() -> list[str]:
            return [stage("first"), dying(), stage("last")]

        assert chain() == ["first", "trained", "last"]
        assert done[-1] == "last"
        with pytest.raises(ConfigError, match="a mistake of the user's"):
            broken()
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    (told,) = [m for m in caplog.messages if "Prefect" in m]
    prefect_flow._told.clear()
    assert told.startswith(f"the Prefect server at {url} does not answer (") and "the run goes on without it" in told


def test_a_failure_that_the_server_could_not_be_told_of_is_not_run_again() -> None:
    def told(*before: BaseException) -> BaseException | None:
        """What counts as the cause when telling the server failed after other errors."""
        lost: BaseException = httpx.ConnectError("All connection attempts failed")
        lost.__cause__ = OSError("All connection attempts failed")
        lost.__cause__.__context__ = ExceptionGroup("", [ConnectionRefusedError(errno.ECONNREFUSED, "refused")])
        lost.__context__ = before[0] if before else None
        return prefect_flow._of_the_work(lost)

    bug, full, stop = ValueError("a bug"), OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()
    assert told(bug) is bug and told(full) is full and told(stop) is stop
    assert told() is None
