"""Send a spool's operations to MLflow, in batches, and note how far it came."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

from medreasoner_monai.pipeline.mlflow_store import MlflowStore, error_code
from medreasoner_monai.pipeline.spool import TABLES, Operation, Spool

log = logging.getLogger("medreasoner")
TOKEN = "medreasoner.spool"
"""Tag that tells a run's spool, so that a run is not created twice, and a child finds its parent."""
_PARENT, _TABLES = "mlflow.parentRunId", "mlflow.loggedArtifacts"
_IN_BETWEEN, _AT_THE_END = 10.0, 60.0
"""Seconds after which nothing more is begun: while a stage works, and when it has ended."""
_DIGEST = 36
"""Characters of a data set's digest that MLflow stores."""
_METRICS, _OTHERS = 900, 90
"""Entities in one batch; MLflow's own limits are 1000 metrics, 100 parameters and 100 tags."""


def flush(
    store: MlflowStore, experiment: Callable[[], str], spool: Spool, warn: Callable[[str], None], *, now: bool = False
) -> bool:
    """Send what is pending, for a few seconds at most; returns whether all was sent.

    Nothing is tried for a while after a failure, unless ``now``. ``warn`` is told of a failure once, until MLflow has
    answered again.
    """
    if not spool.pending:
        return True
    outside = sys.exception()
    if not now and not store.due:
        return False
    until = time.monotonic() + (_AT_THE_END if now else _IN_BETWEEN)
    try:
        with store.attempt():
            _send(store.client, experiment, spool, warn, until)
    except Exception as error:
        spool.resumed |= error_code(error) == "RESOURCE_DOES_NOT_EXIST"  # look for the run the next time
        if not store.failing:
            store.failing = True
            warn(
                f"MLflow at {store.shown} does not take what is tracked ({reason(error, outside)}); the run goes on, "
                f"and what was not sent waits in {spool.folder} until MLflow answers again"
            )
        log.debug("MLflow", exc_info=error)
        return False
    if store.failing:
        store.failing = False
        log.info("MLflow at %s answers again", store.shown)
    return not spool.pending


def reason(error: BaseException, outside: BaseException | None = None) -> str:
    """The innermost cause of an error in one short line; ``outside`` was being handled before and is no cause."""
    while (deeper := error.__cause__ or error.__context__) is not None and deeper is not outside:
        error = deeper
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:160]}" if lines[0] else type(error).__name__


def _send(client: Any, experiment: Callable[[], str], spool: Spool, warn: Callable[[str], None], until: float) -> None:
    """Send what is pending, one request after the other, as long as it is not later than ``until`` (monotonic)."""
    if spool.run_id is not None and not _exists(client, spool):
        spool.rewind()
    while spool.pending and time.monotonic() < until:
        if spool.run_id is None:
            spool.created(_create(client, experiment(), spool))
        count = _batch_size(spool)
        try:
            if count:
                _send_batch(client, spool, count)
            else:
                _send_one(client, spool, spool.pending[0])
        except Exception as error:
            # It would be refused for ever, and everything behind it with it.
            if error_code(error) != "INVALID_PARAMETER_VALUE" and not isinstance(error, FileNotFoundError):
                raise
            warn(f"MLflow refuses a {spool.pending[0]['op']} operation, which is left out: {reason(error)}")
        spool.mark_sent(count or 1)


def _exists(client: Any, spool: Spool) -> bool:
    """Whether the run is in the store; asked once for each spool that was opened or failed."""
    if not spool.resumed:
        return True
    try:
        client.get_run(spool.run_id)
    except Exception as error:
        if error_code(error) != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    spool.resumed = False
    return True


def _create(client: Any, experiment_id: str, spool: Spool) -> str:
    """Create the run, or find the one that a killed attempt created without noting it."""
    first = spool.first
    if spool.resumed and (known := _by_token(client, experiment_id, first["token"])):
        return known
    tags = {**first["tags"], TOKEN: first["token"]}
    if first["parent"] and (parent := _parent(client, experiment_id, first["parent"])):
        tags[_PARENT] = parent
    return str(
        client.create_run(experiment_id, start_time=first["time"], run_name=first["name"], tags=tags).info.run_id
    )


def _parent(client: Any, experiment_id: str, parent: dict[str, Any]) -> str | None:
    return parent["run"] or _by_token(client, experiment_id, parent["token"])


def _by_token(client: Any, experiment_id: str, token: str) -> str | None:
    found = client.search_runs([experiment_id], filter_string=f"tags.`{TOKEN}` = '{token}'", max_results=1)
    return str(found[0].info.run_id) if found else None


def _batch_size(spool: Spool) -> int:
    """How many operations at the front go into one request."""
    metrics = others = count = 0
    for operation in islice(spool.pending, _METRICS):
        if operation["op"] == "metrics":
            metrics += len(operation["values"])
        elif operation["op"] in ("params", "tags"):
            others += len(operation["values"])
        else:
            break
        if count and (metrics > _METRICS or others > _OTHERS):
            break
        count += 1
    return count


def _send_batch(client: Any, spool: Spool, count: int) -> None:
    from mlflow.entities import Metric, Param, RunTag

    metrics: list[Any] = []
    params: list[Any] = []
    tags: list[Any] = []
    for operation in islice(spool.pending, count):
        values = operation["values"].items()
        if operation["op"] == "metrics":
            metrics += [Metric(name, value, operation["time"], operation["step"]) for name, value in values]
        elif operation["op"] == "params":
            params += [Param(name, value) for name, value in values]
        else:
            tags += [RunTag(name, value) for name, value in values]
    # One operation alone may hold more than a request may.
    while metrics or params or tags:
        client.log_batch(spool.run_id, metrics=metrics[:_METRICS], params=params[:_OTHERS], tags=tags[:_OTHERS])
        del metrics[:_METRICS], params[:_OTHERS], tags[:_OTHERS]


def _send_one(client: Any, spool: Spool, operation: Operation) -> None:
    kind = operation["op"]
    if kind == "file":
        client.log_artifact(spool.run_id, str(spool.folder / operation["file"]), operation["folder"] or None)
    elif kind == "table":
        # A later upload of the same table holds these rows as well.
        if not any(o["op"] == "table" and o["name"] == operation["name"] for o in islice(spool.pending, 1, None)):
            _send_table(client, spool, operation["name"])
    elif kind == "dataset":
        _send_dataset(client, spool, operation)
    elif operation.get("status") == "RUNNING":
        client.update_run(spool.run_id, status="RUNNING")
    elif kind == "status":
        client.set_terminated(spool.run_id, operation["status"], operation["time"])


def _send_dataset(client: Any, spool: Spool, operation: Operation) -> None:
    """Log a data set in the form of MLflow's ``log_input``, whose pages show it."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    found = Dataset(
        name=operation["name"],
        digest=operation["digest"][:_DIGEST],
        source_type="artifact",
        source=json.dumps({"digest": operation["digest"]}),
        profile=json.dumps(operation["profile"]),
    )
    tags = [InputTag("mlflow.data.context", operation["context"])]
    client.log_inputs(spool.run_id, datasets=[DatasetInput(found, tags)])


def _send_table(client: Any, spool: Spool, name: str) -> None:
    """Upload a table in the form of MLflow's ``log_table``, whose pages show it."""
    lines = (spool.folder / TABLES / f"{name}l").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    table = {"columns": columns, "data": [[row.get(column) for column in columns] for row in rows]}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")
        client.log_artifact(spool.run_id, str(path))
    tables = json.loads(client.get_run(spool.run_id).data.tags.get(_TABLES, "[]"))
    if (entry := {"path": name, "type": "table"}) not in tables:
        client.set_tag(spool.run_id, _TABLES, json.dumps([*tables, entry]))
