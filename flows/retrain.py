"""Flow: the whole chain, from data to a promoted, packaged and tried model. Scheduled by ``prefect.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.base import base
from flows.cold_start import cold_start
from flows.common import Run
from flows.confidence import confidence
from flows.curate import curate
from flows.evaluate import Scored, evaluate_all
from flows.gate import gate
from flows.ground import ground
from flows.grpo import grpo
from flows.merge import merge
from flows.package import package
from flows.report import report
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.report.inputs import BASE, BLANK, COLD_START, FINAL
from medreasoner_monai.report.report_stage import Finished
from medreasoner_monai.settings.config import load_settings
from medreasoner_monai.training.preflight import check_run


@flow(name="retrain", log_prints=False)
def retrain(
    config: Path, workspace: Path, overrides: tuple[str, ...] = (), fresh: tuple[str, ...] = (), reason: str = ""
) -> dict[str, Any]:
    """Run every stage that nothing made before stands for, and report.

    Parameters
    ----------
    config:
        A file from configs/, or one like it.
    workspace:
        Where artifacts, tracking and the report go.
    overrides:
        ``section.key=value`` each.
    fresh:
        Stages to run again although their artifacts exist, such as ``grpo``.
    reason:
        Why, for the run's record.
    """
    check_run(load_settings(config, overrides), workspace)
    asked = Run(config=config, workspace=workspace, overrides=overrides, fresh=fresh)
    with asked.recorded("retrain", reason) as run:
        dataset = curate(run)
        start = base(run, dataset)
        started = cold_start(run, dataset, start)
        shards = grpo(run, dataset, started)
        model = merge(run, started, shards)
        models = {
            BLANK: Scored(model, "blank image", blank=True),
            BASE: Scored(start, "base"),
            COLD_START: Scored(started, "cold start"),
            FINAL: Scored(model, "GRPO"),
        }
        scores = evaluate_all(run, dataset, models)
        agreement = confidence(run, dataset, model)
        decision = gate(run, dataset, model, scores[FINAL], scores[BLANK])
        bundle = grounding = None
        if run.artifact(decision).facts["decision"] == "promote":
            bundle = package(run, dataset, model, scores[FINAL], decision, agreement)
            grounding = ground(run, bundle)
        finished = Finished(
            config=config,
            dataset=run.artifact(dataset),
            base=run.artifact(start),
            cold_start=run.artifact(started),
            grpo=run.artifact(shards),
            model=run.artifact(model),
            evaluations={name: run.evaluation(ref) for name, ref in scores.items()},
            confidence=run.evaluation(agreement) if agreement else None,
            decision=run.artifact(decision),
            bundle=run.artifact(bundle) if bundle else None,
            grounding=run.artifact(grounding) if grounding else None,
        )
        return report(run, finished)
