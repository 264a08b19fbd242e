"""The gate against a server that goes away: it stops, promotes nobody, and goes on when it is run again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medreasoner_monai.errors import RegistryError
from medreasoner_monai.evaluation.evaluate_stage import Evaluation
from medreasoner_monai.evaluation.records import METRICS, SAMPLES, write_records
from medreasoner_monai.files import write_json
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.registry import gate_stage
from medreasoner_monai.registry.gate_stage import gate
from medreasoner_monai.settings.config import Settings
from tests.evaluation.records import record
from tests.mlflow_server import Door


@pytest.fixture
def door(mlflow_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    door = Door(mlflow_url)
    yield door
    door.close()


@pytest.fixture
def context(door: Door, tmp_path: Path) -> Context:
    settings = Settings.model_validate({"tracking": {"mlflow_uri": door.url, "model_name": "gate"}})
    return Context(settings, Workspace(tmp_path), Tracking(door.url, "gate"))


def made(context: Context, kind: str, name: str) -> Artifact:
    with context.workspace.store.make(kind, name, {}, {}) as draft:
        (draft.path / "name.txt").write_text(name)
    found = context.workspace.store.find(kind, name)
    assert found is not None
    return found


def evaluation(context: Context, name: str, *values: float) -> Evaluation:
    metrics = {"overall": {"box_iou": {"mean": sum(values) / len(values)}}, "failure_rate": 0.0}
    with context.workspace.store.make("evaluation", name, {}, {}) as draft:
        write_records(draft.path / SAMPLES, [record(n, v) for n, v in enumerate(values)], {})
        write_json(draft.path / METRICS, metrics | {"name": name})
        draft.facts["mlflow_run"] = None
    found = context.workspace.store.find("evaluation", name)
    assert found is not None
    return Evaluation(found)


def test_a_worse_model_is_not_promoted_by_an_outage(
    context: Context, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, blank = made(context, "dataset", "data"), evaluation(context, "blank", 0.0, 0.0, 0.0)
    good, worse = made(context, "model", "good"), made(context, "model", "worse")
    theirs = evaluation(context, "good's", 0.8, 0.8, 0.8)
    first = gate(context, dataset, good, theirs, blank)
    assert first.facts["decision"] == "promote"

    asked: list[Path] = []

    def evaluate_champion(_: Context, __: Artifact, folder: Path, name: str) -> Evaluation:
        asked.append(folder)
        return theirs

    monkeypatch.setattr(gate_stage, "evaluate_model", evaluate_champion)
    candidate = evaluation(context, "worse's", 0.4, 0.4, 0.4)
    door.state = "refusing"
    with pytest.raises(RegistryError, match=r"could not be asked for the champion of gate .*503"):
        gate(context, dataset, worse, candidate, blank)
    door.state = "open"
    assert asked == []
    second = gate(context, dataset, worse, candidate, blank)
    assert second.facts["decision"] == "refuse"
    assert [(folder / "name.txt").read_text() for folder in asked] == ["good"]
    assert context.tracking.client.get_registered_model("gate").aliases == {"champion": "1", "candidate": "2"}
