"""Runs the chain and kills its own process with SIGKILL in the middle of a stage: `kill_driver.py STAGE CONFIG DIR`."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_curate() -> None:
    """After the training split, before the test split."""
    from medreasoner_monai.data import curate_stage

    write = curate_stage.write_split

    def write_and_die(path: Path, samples: Any) -> int:
        if path.name == "test.parquet":
            next(iter(samples))
            die()
        return write(path, samples)

    curate_stage.write_split = write_and_die


def in_training(module: Any, worker: str, step: int) -> None:
    """When the worker has reported that step, which is after its first checkpoint."""
    run = module.run_worker

    def run_and_die(name: str, job: Any, folder: Path, on_row: Callable[[Any], None], **options: Any) -> None:
        def row(values: dict[str, float]) -> None:
            on_row(values)
            if name == worker and values["step"] >= step:
                die()

        run(name, job, folder, row, **options)

    module.run_worker = run_and_die


def in_evaluate() -> None:
    """After the first shard of the second reasoner."""
    from medreasoner_monai.evaluation import scoring

    score = scoring.evaluate_batch
    calls = []

    def score_and_die(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            die()
        return score(*arguments, **options)

    scoring.evaluate_batch = score_and_die


def in_package() -> None:
    """When the bundle is filled, before it gets its final name."""
    from medreasoner_monai.bundle import package_stage

    fill = package_stage.package_bundle

    def fill_and_die(*arguments: Any, **options: Any) -> None:
        fill(*arguments, **options)
        die()

    package_stage.package_bundle = fill_and_die


def arm(stage: str) -> None:
    from medreasoner_monai.training import cold_start_stage, grpo_stage

    arms = {
        "curate": in_curate,
        "cold start": lambda: in_training(cold_start_stage, cold_start_stage.WORKER, 30),
        "GRPO": lambda: in_training(grpo_stage, grpo_stage.WORKER, 3),
        "evaluate": in_evaluate,
        "package": in_package,
    }
    arms[stage]()


if __name__ == "__main__":
    from medreasoner_monai.cli.chain import run_chain

    arm(sys.argv[1])
    run_chain(Path(sys.argv[2]), Path(sys.argv[3]), tuple(sys.argv[4:]), live=False)
