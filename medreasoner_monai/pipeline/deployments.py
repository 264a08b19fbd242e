"""Start a Prefect deployment through the server's REST API, also from an environment that has no Prefect installed."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from medreasoner_monai.errors import ConfigError, InputError, MedReasonerError, nearest

WAIT_SECONDS = 30.0
_LISTED = 20
# What a server answers for a moment: a locked SQLite file (503), a restarting proxy (502), a rate limit (429).
_PASSING = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.BAD_GATEWAY, httpx.codes.SERVICE_UNAVAILABLE)
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 5.0


def start_deployment(
    name: str, parameters: Mapping[str, Any] | None = None, api_url: str | None = None
) -> dict[str, str]:
    """Ask a Prefect server to run a deployment; a worker of its pool takes it up.

    Parameters
    ----------
    name:
        ``flow/deployment``, such as ``retrain/scheduled``.
    parameters:
        What differs from the deployment's own parameters; values that JSON can say.
    api_url:
        Address of the API, such as ``http://127.0.0.1:4200/api``; by default that of ``PREFECT_API_URL``.
        ``PREFECT_API_KEY`` and ``PREFECT_API_AUTH_STRING`` are used as Prefect's own client uses them.

    Returns
    -------
    ``id`` and ``name`` of the flow run, its ``state`` (``Scheduled``), and ``url``, its page in the server's pages.

    Raises
    ------
    ConfigError
        If no address is known.
    InputError
        If the name has another form, the server has no such deployment, or it refuses the parameters.
    MedReasonerError
        If nothing answers at the address, or what answers is no Prefect server.
    """
    flow, separator, deployment = name.partition("/")
    if not (flow and separator and deployment) or "/" in deployment:
        raise InputError(f"a deployment is named flow/deployment, such as retrain/scheduled; got {name!r}")
    address = (api_url or os.environ.get("PREFECT_API_URL") or "").rstrip("/")
    if not address.startswith(("http://", "https://")):
        found = f"got {address!r}" if address else "none is given"
        raise ConfigError(
            f"the address of the Prefect API is needed, such as http://127.0.0.1:4200/api; {found}: "
            "name it in the settings, or in PREFECT_API_URL"
        )
    with httpx.Client(headers=_credentials(), timeout=WAIT_SECONDS) as client:
        found = _call(client, "GET", f"{address}/deployments/name/{flow}/{deployment}")
        if found is None:
            known = _names(client, address)
            there = f"There are: {', '.join(known[:_LISTED])}" if known else "It has none; deploy flows/prefect.yaml"
            raise InputError(f"{address} has no deployment {name!r}.{nearest(name, known)} {there}")
        run = _call(
            client,
            "POST",
            f"{address}/deployments/{found['id']}/create_flow_run",
            # A request repeated because its answer was lost starts no second run.
            {"parameters": dict(parameters or {}), "idempotency_key": str(uuid4())},
        )
        if run is None:
            raise MedReasonerError(f"{address}: the deployment {name!r} was deleted while it was being started")
    try:
        return {
            "id": str(run["id"]),
            "name": str(run["name"]),
            "state": str(run["state"]["name"]),
            "url": f"{address.removesuffix('/api')}/runs/flow-run/{run['id']}",
        }
    except (KeyError, TypeError):
        raise _no_prefect(address) from None


def _credentials() -> dict[str, str]:
    if key := os.environ.get("PREFECT_API_KEY"):
        return {"Authorization": f"Bearer {key}"}
    if pair := os.environ.get("PREFECT_API_AUTH_STRING"):
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _names(client: httpx.Client, address: str) -> list[str]:
    """The names of the server's deployments, sorted; the first page of each list is enough for a hint."""
    flows = {f["id"]: f["name"] for f in _call(client, "POST", f"{address}/flows/filter", {}) or []}
    rows = _call(client, "POST", f"{address}/deployments/filter", {}) or []
    return sorted(f"{flows[d['flow_id']]}/{d['name']}" for d in rows if d["flow_id"] in flows)


def _call(client: httpx.Client, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
    """The answer as data; None where the server knows no such thing (404).

    Raises
    ------
    InputError, MedReasonerError
        See :func:`start_deployment`.
    """
    try:
        response = _patiently(client, method, url, body)
    except httpx.InvalidURL:
        raise ConfigError(f"{url} is no address; give that of the Prefect API, http://host:port/api") from None
    except httpx.RequestError as error:
        raise MedReasonerError(
            f"no Prefect server answers at {url} ({type(error).__name__}); start one (prefect server start), "
            "or correct the address"
        ) from None
    try:
        answer = response.json()
    except ValueError:
        raise _no_prefect(url) from None
    if response.status_code == httpx.codes.NOT_FOUND:
        # Prefect's own 404 says which object is missing; one of a web framework only says that the path is unknown.
        if isinstance(answer, dict) and answer.get("detail") == "Not Found":
            raise _no_prefect(url)
        return None
    if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise ConfigError(f"{url} refuses the credentials; set PREFECT_API_KEY or PREFECT_API_AUTH_STRING")
    if response.is_client_error:
        detail = answer.get("detail", answer) if isinstance(answer, dict) else answer
        raise InputError(f"the Prefect server refuses the request ({response.status_code}): {detail}")
    if response.is_error:
        raise MedReasonerError(f"the Prefect server failed ({response.status_code}) at {url}; see its log")
    return answer


def _patiently(client: httpx.Client, method: str, url: str, body: Mapping[str, Any] | None) -> httpx.Response:
    """The server's answer; one that says "not now" is asked again for up to `WAIT_SECONDS`, as Prefect's client is."""
    deadline, pause = time.monotonic() + WAIT_SECONDS, _FIRST_PAUSE_SECONDS
    while True:
        response = client.request(method, url, json=body)
        if response.status_code not in _PASSING or time.monotonic() + pause > deadline:
            return response
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


def _no_prefect(url: str) -> MedReasonerError:
    return MedReasonerError(
        f"what answers at {url} is no Prefect server; give the address of its API, http://host:port/api"
    )
