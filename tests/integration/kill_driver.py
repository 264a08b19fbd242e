"""Runs the chain and kills its own process with SIGKILL at one point: `kill_driver.py POINT CONFIG DIR [SETTING…]`.

A point is a stage's name, for the middle of its work, or ``stage@moment``: behind the last step, in the middle of
saving, or between the steps that finish an artifact.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MOMENTS = ("last step", "saving", "manifest", "rename", "scratch")
POINTS = (
    "curate",
    "cold-start",
    *(f"cold-start@{moment}" for moment in MOMENTS[:2]),  # from there on it is the store's work, whatever the stage
    "grpo",
    *(f"grpo@{moment}" for moment in MOMENTS),
    "evaluate",
    "package",
)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def in_curate() -> None:
    """When the splits are written from the shards, at the test split's first row."""
    from medreasoner_monai.data import assemble

    class Dying(assemble.TableFile):
        def add(self, row: dict[str, Any]) -> None:
            if self.path.name == "test.parquet":
                die()
            super().add(row)

    assemble.TableFile = Dying  # type: ignore[misc]


def in_training(module: Any, step: int) -> None:
    """When the worker has reported that step, which is after its first checkpoint."""
    run = module.run_worker

    def run_and_die(name: str, job: Any, folder: Path, on_row: Callable[[Any], None], **options: Any) -> None:
        def row(values: dict[str, float]) -> None:
            on_row(values)
            if name == module.WORKER and values["step"] >= step:
                die()

        run(name, job, folder, row, **options)

    module.run_worker = run_and_die


def behind_the_last_step(module: Any) -> None:
    run = module.run_worker

    def run_and_die(name: str, *arguments: Any, **options: Any) -> None:
        run(name, *arguments, **options)
        if name == module.WORKER:
            die()

    module.run_worker = run_and_die


def in_saving(module: Any) -> None:
    """With half of a file of weights on the disk."""

    def save_half(*arguments: Any, **_: Any) -> None:
        out = Path(arguments[-1])
        out.mkdir(exist_ok=True)
        (out / "model.safetensors").write_bytes(b"half")
        die()

    name = "save_whole" if hasattr(module, "save_whole") else "keep_shards"
    setattr(module, name, save_half)


def in_finishing(kind: str, moment: str) -> None:
    """Between the manifest, the rename and the removal of the scratch folder; or in the middle of that."""
    from medreasoner_monai.pipeline import store

    if moment == "manifest":
        write = store.write_manifest

        def write_and_die(folder: Path, written: str, **options: Any) -> None:
            write(folder, written, **options)
            if written == kind:
                die()

        store.write_manifest = write_and_die
        return
    sweep = store.Store._sweep

    def sweep_and_die(self: Any, name: str) -> None:
        if name.startswith(f"{kind}-") and (self.root / f"{name}.scratch").is_dir():
            if moment == "scratch":
                shutil.rmtree(self.root / f"{name}.scratch" / "checkpoints")
            die()
        sweep(self, name)

    store.Store._sweep = sweep_and_die


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


def arm(point: str) -> None:
    from medreasoner_monai.training import cold_start_stage, grpo_stage

    stage, _, moment = point.partition("@")
    trainings = {"cold-start": (cold_start_stage, 30), "grpo": (grpo_stage, 3)}
    if stage not in trainings:
        {"curate": in_curate, "evaluate": in_evaluate, "package": in_package}[stage]()
        return
    module, step = trainings[stage]
    if not moment:
        in_training(module, step)
    elif moment == "last step":
        behind_the_last_step(module)
    elif moment == "saving":
        in_saving(module)
    else:
        in_finishing(module.STAGE.kind, moment)


if __name__ == "__main__":
    from medreasoner_monai.cli.chain import run_chain

    arm(sys.argv[1])
    run_chain(Path(sys.argv[2]), Path(sys.argv[3]), tuple(sys.argv[4:]), live=False)
