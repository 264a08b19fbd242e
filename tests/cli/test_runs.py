"""`medreasoner runs` and `prune`, as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from medreasoner_monai.cli.app import app
from medreasoner_monai.errors import InputError, MedReasonerError
from medreasoner_monai.pipeline.workspace import Workspace

WHEN = ["--keep-last", "0", "--older-than", "0"]


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    """A workspace with two finished runs, each with a model of its own."""
    space = Workspace(tmp_path / "space")
    for steps, iou in ((3, 0.41), (5, 0.47)):
        record = space.runs.start(
            name=f"try {steps}", chain="retrain", config="configs/smoke.yaml", overrides=(), trigger="command line",
            settings={"grpo": {"steps": steps}}, reason=f"{steps} steps",
        )  # fmt: skip
        with space.store.make("model", f"key{steps}", {}, {}) as draft:
            (draft.path / "weights").write_text(str(steps))
        made = space.store.find("model", f"key{steps}")
        assert made is not None
        space.runs.note_artifact(record.id, "merge", made, reused=False)
        with space.runs.recorded(record.id), space.runs.changed(record.id) as changed:
            changed.figures, changed.decision = {"box_iou": {"grpo": iou}}, "promote"
    return space


def call(space: Workspace, *arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments), env={"MEDREASONER_WORKSPACE": str(space.root)})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_runs_are_listed_with_figures_and_reason(space: Workspace) -> None:
    out = call(space, "runs")
    assert all(id_ in out for id_ in space.runs.ids())
    assert "0.410" in out and "0.470" in out and "5 steps" in out and "finished" in out
    assert [r["id"] for r in json.loads(call(space, "runs", "--json"))] == space.runs.ids()[::-1]


def test_one_run_is_shown_whole(space: Workspace) -> None:
    out = call(space, "runs", "show", "try-3")
    assert "3 steps" in out and "model-key3" in out and "box_iou.grpo" in out
    assert json.loads(call(space, "runs", "show", "try-5", "--json"))["settings"] == {"grpo": {"steps": 5}}
    with pytest.raises(InputError, match="has no run 'try-4'"):
        call(space, "runs", "show", "try-4")


def test_two_runs_are_compared(space: Workspace) -> None:
    out = call(space, "runs", "diff", "try-3", "try-5")
    assert "grpo.steps" in out and "+2" in out and "+0.06" in out
    assert "no difference" in call(space, "runs", "diff", "try-3", "try-3")


def test_pruning_shows_first_and_asks(space: Workspace) -> None:
    call(space, "runs", "keep", "try-5")
    assert "remove  artifacts/model-key3" in call(space, "prune", *WHEN, "--dry-run")
    assert len(space.runs.ids()) == 2
    asked = CliRunner().invoke(app, ["prune", "--workspace", str(space.root), *WHEN], input="n\n")
    assert asked.exit_code == 1 and len(space.runs.ids()) == 2
    call(space, "prune", *WHEN, "--yes")
    assert [i for i in space.runs.ids() if "try-5" in i] == space.runs.ids()
    assert space.store.find("model", "key3") is None and space.store.find("model", "key5") is not None


def test_a_registered_model_is_never_pruned(space: Workspace) -> None:
    made = space.store.find("model", "key3")
    assert made is not None
    (space.root / "mlflow").mkdir()
    client = MlflowClient(space.mlflow_uri, space.mlflow_uri)
    client.create_registered_model("medreasoner")
    client.create_model_version("medreasoner", made.path.as_uri(), tags={"digest": made.digest})
    out = call(space, "prune", *WHEN, "--yes")
    assert "its model is registered" in out
    assert space.store.find("model", "key3") is not None and space.store.find("model", "key5") is None


def test_nothing_is_pruned_while_the_registry_cannot_be_asked(space: Workspace) -> None:
    (space.root / "mlflow").mkdir()
    (space.root / "mlflow" / "mlflow.db").write_text("damaged")
    with pytest.raises(MedReasonerError):
        call(space, "prune", *WHEN, "--yes")
    assert len(space.runs.ids()) == 2


def test_a_workspace_that_does_not_exist_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no workspace"):
        call(Workspace(tmp_path / "nowhere"), "runs")


def test_the_workspace_may_stand_where_a_person_types_it(space: Workspace) -> None:
    for line in (["runs", "--workspace", str(space.root), "show", "try-3"],
                 ["runs", "show", "try-3", "--workspace", str(space.root)]):  # fmt: skip
        assert "3 steps" in CliRunner().invoke(app, line).output
    with pytest.raises(InputError, match="give --workspace, or set MEDREASONER_WORKSPACE"):
        CliRunner().invoke(app, ["runs", "show", "try-3"], catch_exceptions=False)
