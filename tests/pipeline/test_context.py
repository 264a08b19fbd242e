"""What a context adds to a stage: a fresh artifact on request, and a line in the run's record."""

from __future__ import annotations

from pathlib import Path

import pytest

from medreasoner_monai.errors import InputError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.progress import ProgressReporter
from medreasoner_monai.pipeline.stage import Stage
from medreasoner_monai.pipeline.store import Draft
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.settings.config import Settings

STAGE = Stage("evaluate", "evaluation", version=1, code=("task.geometry",))


class Maker:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, draft: Draft, watch: ProgressReporter) -> None:
        self.calls += 1
        (draft.path / "n.txt").write_text(str(self.calls))


def context(folder: Path, *, fresh: frozenset[str] = frozenset()) -> Context:
    space = Workspace(folder)
    record = space.runs.start(name="x", chain="retrain", config="", overrides=(), settings={}, trigger="test")
    tracking = Tracking(space.mlflow_uri, "medreasoner", space.mlflow_artifacts)
    return Context(Settings(), space, tracking, record.id, fresh)


def stage(where: Context, make: Maker, name: str) -> Artifact:
    return where.stage(STAGE, make, inputs={}, settings={"model": name}, title=f"eval {name}")


def test_a_stage_is_made_again_on_request_once_for_each_of_its_artifacts(tmp_path: Path) -> None:
    make = Maker()
    for name in ("base", "final"):
        stage(context(tmp_path), make, name)
    assert make.calls == 2
    again = context(tmp_path, fresh=frozenset({"evaluate"}))
    for name in ("base", "final", "base"):
        stage(again, make, name)
    assert make.calls == 4, "each once; what this run has made is then found"


def test_artifacts_go_into_the_runs_record(tmp_path: Path) -> None:
    make = Maker()
    made = stage(context(tmp_path), make, "base")
    where = context(tmp_path)
    stage(where, make, "base")
    assert where.run is not None
    (noted,) = where.workspace.runs.load(where.run).artifacts.values()
    assert noted.ref == made.ref and noted.reused


def test_a_stage_that_does_not_exist_cannot_be_asked_for(tmp_path: Path) -> None:
    from flows.common import Run

    with pytest.raises(InputError, match="there is no stage 'gropo'. Did you mean 'grpo'"):
        Run(config=tmp_path / "x.yaml", workspace=tmp_path, fresh=("gropo",))
