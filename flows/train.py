"""Flow: training alone, from data to a merged model; nothing is evaluated, promoted or packaged."""

from __future__ import annotations

from pathlib import Path

from flows.base import base
from flows.cold_start import cold_start
from flows.common import Run
from flows.curate import curate
from flows.grpo import grpo
from flows.merge import merge
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.settings.config import load_settings
from medreasoner_monai.training.preflight import check_training


@flow(name="train", log_prints=False)
def train(
    config: Path, workspace: Path, overrides: tuple[str, ...] = (), fresh: tuple[str, ...] = (), reason: str = ""
) -> Path:
    """Curate, cold start, GRPO and merge what nothing made before stands for; return the merged model's folder.

    Parameters
    ----------
    config:
        A file from configs/, or one like it.
    workspace:
        Where artifacts and tracking go.
    overrides:
        ``section.key=value`` each.
    fresh:
        Stages to run again although their artifacts exist, such as ``grpo``.
    reason:
        Why, for the run's record.
    """
    check_training(load_settings(config, overrides), workspace)
    asked = Run(config=config, workspace=workspace, overrides=overrides, fresh=fresh)
    with asked.recorded("train", reason) as run:
        dataset = curate(run)
        started = cold_start(run, dataset, base(run, dataset))
        return run.artifact(merge(run, started, grpo(run, dataset, started))).path
