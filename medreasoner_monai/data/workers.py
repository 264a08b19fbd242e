"""Shards made by all cores of a machine, or of a cluster."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from medreasoner_monai.data.ray_workers import make_on_ray
from medreasoner_monai.data.shards import Shard, make, making
from medreasoner_monai.data.steps import Account, Steps
from medreasoner_monai.pipeline.processes import die_with_parent
from medreasoner_monai.settings.data import WorkSettings

_FEW = 2
"""Shards that are made in this process: starting others takes longer."""


def make_all(shards: Sequence[Shard], steps: Steps, work: WorkSettings | None = None) -> Iterator[int]:
    """Make shards; gives how many masks are done after each step forward.

    Sources that start workers of their own come first, in this process.
    """
    work = WorkSettings() if work is None else work
    done = 0
    for shard in (s for s in shards if s.source.inline):
        account = Account()
        for account in making(shard, steps):
            yield done + account.masks
        done += account.masks
    apart = [s for s in shards if not s.source.inline]
    if work.engine == "ray":
        yield from (done + more for more in make_on_ray(apart, steps))
        return
    count = min(work.processes or os.cpu_count() or 1, len(apart))
    if len(apart) <= _FEW or count == 1:
        for shard in apart:
            done += make(shard, steps).masks
            yield done
        return
    with ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent
    ) as pool:
        futures = [pool.submit(make, shard, steps) for shard in apart]
        try:
            for future in as_completed(futures):
                done += future.result().masks
                yield done
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
