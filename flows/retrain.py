"""Flow: the whole chain, from data to a promoted, packaged and tried model. Scheduled by ``prefect.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect.runtime import flow_run

from flows.base import base
from flows.cold_start import cold_start
from flows.common import Run, artifact, evaluation
from flows.confidence import confidence
from flows.curate import curate
from flows.evaluate import evaluate
from flows.gate import gate
from flows.ground import ground
from flows.grpo import grpo
from flows.merge import merge
from flows.package import package
from flows.report import report
from medreasoner_monai.pipeline.prefect_flow import flow
from medreasoner_monai.report.inputs import BASE, BLANK, COLD_START, FINAL
from medreasoner_monai.report.report_stage import Finished
from medreasoner_monai.training.preflight import check_run


@flow(name="retrain", log_prints=False)
def retrain(config: Path, workspace: Path, overrides: tuple[str, ...] = ()) -> dict[str, Any]:
    """Run every stage whose inputs, settings or code have changed, and report.

    Parameters
    ----------
    config:
        A file from configs/, or one like it.
    workspace:
        Where artifacts, tracking and the report go.
    overrides:
        ``section.key=value`` each.
    """
    run = Run(config=config, workspace=workspace, overrides=overrides)
    check_run(run.context.settings, workspace)
    with run.context.workspace.held():
        run.context.tracking.replay()
        dataset = curate(run)
        start = base(run, dataset)
        started = cold_start(run, dataset, start)
        shards = grpo(run, dataset, started)
        model = merge(run, started, shards)
        scores = {
            BLANK: evaluate(run, dataset, model, "blank image", blank=True),
            BASE: evaluate(run, dataset, start, "base"),
            COLD_START: evaluate(run, dataset, started, "cold start"),
            FINAL: evaluate(run, dataset, model, "GRPO"),
        }
        surety = confidence(run, dataset, model)
        decision = gate(run, dataset, model, scores[FINAL], scores[BLANK])
        bundle = grounding = None
        if artifact(decision).facts["decision"] == "promote":
            bundle = package(run, dataset, model, scores[FINAL], decision, surety)
            grounding = ground(run, bundle)
        finished = Finished(
            config=config,
            dataset=artifact(dataset),
            base=artifact(start),
            cold_start=artifact(started),
            grpo=artifact(shards),
            model=artifact(model),
            evaluations={name: evaluation(path) for name, path in scores.items()},
            confidence=evaluation(surety, "confidence") if surety else None,
            decision=artifact(decision),
            bundle=artifact(bundle) if bundle else None,
            grounding=artifact(grounding) if grounding else None,
            flow_run=flow_run.get_id(),
            reused=frozenset(run.context.reused),
        )
        return report(run, finished)
