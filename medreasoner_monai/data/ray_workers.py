"""Shards made by a Ray cluster: each node reads the sources and sends finished shards back, which are written here.

The nodes need the sources under the same paths; they share nothing else with the machine that curates.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from medreasoner_monai.data.shards import Shard, make
from medreasoner_monai.data.steps import Steps
from medreasoner_monai.errors import ConfigError
from medreasoner_monai.files import write_bytes, write_json

ADDRESS = "RAY_ADDRESS"
"""The environment variable that names the cluster, as Ray itself reads it; without it Ray starts on this machine."""


def make_on_ray(shards: Sequence[Shard], steps: Steps) -> Iterator[int]:
    """Make shards on all cores of a cluster; gives how many masks are done after each shard.

    Raises
    ------
    ConfigError
        If Ray is not installed, or the cluster cannot be reached.
    """
    data = _connect()
    unfinished = [shard for shard in shards if shard.account() is None]
    done = sum(account.masks for shard in shards if (account := shard.account()) is not None)
    yield done
    if not unfinished:
        return
    work = data.from_items(
        [{"shard": shard, "steps": steps} for shard in unfinished], override_num_blocks=len(unfinished)
    )
    by_number = {shard.number: shard for shard in unfinished}
    for made in work.map(_make).iter_rows():
        shard = by_number[made["number"]]
        _keep(shard, made)
        done += json.loads(made["account"])["masks"]
        yield done


def _connect() -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise ConfigError(
            "data.work.engine is ray, which is not installed: pip install 'medreasoner-monai[ray]'"
        ) from None
    if not ray.is_initialized():
        _check_address(os.environ.get(ADDRESS, ""))
        ray.init(log_to_driver=False, include_dashboard=False if ADDRESS not in os.environ else None)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    return ray.data


def _check_address(address: str) -> None:
    """Refuse an address that nobody answers at, which Ray itself takes minutes to find out."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # "auto", "local" or unset: Ray finds out by itself
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError as error:
        raise ConfigError(f"no Ray cluster answers at {ADDRESS}={address} ({error.strerror or error})") from None


def _make(item: dict[str, Any]) -> dict[str, Any]:
    """Make one shard in a folder of the node's own, and send its files."""
    with tempfile.TemporaryDirectory() as folder:
        shard = replace(item["shard"], folder=Path(folder))
        account = make(shard, item["steps"])
        return {
            "number": shard.number,
            "account": json.dumps(asdict(account)),
            "rows": shard.rows.read_bytes(),
            "rejects": shard.rejects.read_bytes(),
        }


def _keep(shard: Shard, made: dict[str, Any]) -> None:
    write_bytes(shard.rows, made["rows"])
    write_bytes(shard.rejects, made["rejects"])
    write_json(shard.note, json.loads(made["account"]))
