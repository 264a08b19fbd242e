"""Flows that outlive their Prefect server, and whose errors are explained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import httpx
from prefect import Flow
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import get_call_parameters

from medreasoner_monai.pipeline.explain import causes, explain_error, is_disk_full
from medreasoner_monai.pipeline.prefect_server import configured_server

log = logging.getLogger("medreasoner")
P = ParamSpec("P")
R = TypeVar("R")
_SERVER_SIDE = ("httpx", "httpcore", "prefect", "anyio", "asyncio", "ssl")
_HEALTH_SECONDS = 10.0
_told: set[str] = set()


class LastingFlow(Flow[P, R]):
    """A flow whose function is run without Prefect where its server does not answer.

    Its functions may be run twice: they find what was finished and go on with what was not. Only a flow that is called
    is protected so; one that a Prefect worker starts has its own state kept by the server alone.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the flow.

        Raises
        ------
        MedReasonerError
            In place of an error that :func:`~medreasoner_monai.pipeline.explain.explain_error` knows.
        """
        try:
            if _server_answers():
                try:
                    return super().__call__(*args, **kwargs)
                except Exception as error:
                    if not _is_servers(error):
                        raise
                    if (own := _of_the_work(error)) is not None:
                        raise own from None
                    _tell(error)
            return self.fn(*args, **kwargs)
        except Exception as error:
            known = explain_error(error, _workspace(get_call_parameters(self.fn, args, kwargs)), self.name)
            if known is None or known is error:
                raise
            raise known from error


def flow(*, name: str, **options: Any) -> Callable[[Callable[P, R]], LastingFlow[P, R]]:
    """As ``prefect.flow``, for a :class:`LastingFlow`."""

    def decorate(function: Callable[P, R]) -> LastingFlow[P, R]:
        return LastingFlow(function, name=name, **options)

    return decorate


def _workspace(parameters: dict[str, Any]) -> Path | None:
    found = parameters.get("workspace") or getattr(parameters.get("run"), "workspace", None)
    return Path(found) if found else None


def _server_answers() -> bool:
    """Whether the configured server is there; asked before each flow, since Prefect's client tries for minutes."""
    url = configured_server()
    if url is None:
        return True
    error: Exception | None = None
    for attempt in range(2):
        try:
            _client().get(f"{url}/health").raise_for_status()
        except httpx.HTTPStatusError as refused:
            # Whatever it says, something is there; Prefect's client knows about credentials.
            if refused.response.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
                _told.discard(url)
                return True
            error = refused
        except httpx.HTTPError as failed:
            error = failed
        else:
            _told.discard(url)
            return True
        time.sleep(attempt == 0)
    assert error is not None
    _tell(error)
    return False


@cache
def _client() -> httpx.Client:
    """One for all flows of a process: a new one reads the system's certificates, which takes a tenth of a second."""
    return httpx.Client(timeout=_HEALTH_SECONDS)


def _is_servers(error: BaseException) -> bool:
    """Whether the error is that the server is gone, or fails (such as with a full disk)."""
    if isinstance(error, PrefectHTTPStatusError):
        return bool(error.response.is_server_error)
    return isinstance(error, httpx.RequestError)


def _of_the_work(error: BaseException) -> BaseException | None:
    """The error of the flow's function that the server could not be told of, if that is how it began."""
    return next((cause for cause in causes(error) if not _of_the_connection(cause)), None)


def _of_the_connection(cause: BaseException) -> bool:
    if type(cause).__module__.split(".")[0] in _SERVER_SIDE or isinstance(cause, BaseExceptionGroup):
        return True
    # What a socket raises names no file.
    return isinstance(cause, OSError) and cause.filename is None and not is_disk_full(cause)


def _tell(error: BaseException) -> None:
    url = configured_server() or ""
    if url not in _told:
        _told.add(url)
        kind = type(error).__name__
        log.warning(
            "the Prefect server at %s does not answer (%s); the run goes on without it, and its pages show what was "
            "done until now",
            url,
            kind,
        )
