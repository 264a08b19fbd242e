"""A training stage that is killed behind its last step and run again: the artifact is that of an undisturbed run."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.context import Context
from medreasoner_monai.pipeline.tracking import Tracking
from medreasoner_monai.pipeline.workspace import Workspace
from medreasoner_monai.settings.config import Settings
from medreasoner_monai.training import base_stage, cold_start_stage, grpo_stage, track
from medreasoner_monai.training.alarms import read_alarms
from medreasoner_monai.training.follow import PICTURE_ALARMS, SHEETS, sheet_name
from medreasoner_monai.training.launch import COMPLETIONS, METRICS, Tail, read_rows

STEPS = 6


class Killed(BaseException):
    """In the place of SIGKILL: nothing behind it is done."""


@dataclass
class Workers:
    """Stands in for the worker processes: the first start trains, one that finds the last checkpoint does nothing."""

    trained: int = 0

    def __call__(
        self, worker: str, job: dict[str, Any], folder: Path, on_row: Callable[[dict[str, Any]], None], **_: Any
    ) -> None:
        checkpoint = folder / "checkpoints" / f"checkpoint-{STEPS}"
        if not checkpoint.exists():
            self.trained += 1
            self.train(folder, checkpoint)
        if "out" in job:
            (Path(job["out"]) / "model.safetensors").write_text("weights")
        for row in Tail(folder / METRICS):
            on_row(row)

    def train(self, folder: Path, checkpoint: Path) -> None:
        rows = [
            {"step": n, "total": STEPS, "loss": 1 / n, "completions/clipped_ratio": 0.9} for n in range(1, STEPS + 1)
        ]
        (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
        line = {"step": 0, "id": "s1", "question": "Where?", "text": "here", "reward": 1.0}
        (folder / COMPLETIONS).write_text(json.dumps(line) + "\n")
        (folder / SHEETS).mkdir()
        (folder / SHEETS / sheet_name(0)).write_bytes(b"a drawing")
        alarm = {"kind": "image_dropped", "step": 0, "message": "The picture is lost.", "cleared": None}
        (folder / PICTURE_ALARMS).write_text(json.dumps(alarm) + "\n")
        (checkpoint / f"global_step{STEPS}").mkdir(parents=True)
        (checkpoint / f"global_step{STEPS}" / "shard").write_text("optimiser and weights")
        (checkpoint / "latest").write_text(f"global_step{STEPS}")
        (checkpoint / "trainer_state.json").write_text(json.dumps({"global_step": STEPS}))


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Workers:
    made = Workers()
    for stage in (base_stage, cold_start_stage, grpo_stage):
        monkeypatch.setattr(stage, "run_worker", made)

    def save(checkpoint: Path, start: Path, out: Path) -> None:
        (out / "model.safetensors").write_text((checkpoint / f"global_step{STEPS}" / "shard").read_text())

    monkeypatch.setattr(cold_start_stage, "save_whole", save)
    monkeypatch.setattr(base_stage, "texts", lambda split: [])
    monkeypatch.setattr(base_stage, "build", lambda folder, *_: folder.mkdir() or {"parameters": 1})
    return made


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", "stages", (folder / "artifacts").as_uri())


AFTER_TRAINING = ((track.TrainingRun, "curves"), (track.Follower, "finish"))
"""Functions that are not reached: before the curves are drawn, before the contact sheets are kept."""

CASES = [
    *((stage, where) for stage in ("base", "cold start", "GRPO") for where in AFTER_TRAINING),
    ("base", (base_stage, "write_note")),
    ("cold start", (cold_start_stage, "save_whole")),
    ("cold start", (cold_start_stage, "write_note")),
    ("GRPO", (grpo_stage, "keep_shards")),
]


def finished(stage: str, folder: Path, tracking: Tracking) -> Artifact:
    context = Context(Settings(), Workspace(folder), tracking)
    dataset, base = (
        Artifact(folder / kind, {"kind": kind, "digest": kind, "facts": {}}) for kind in ("dataset", "base")
    )
    if stage == "base":
        return base_stage.base_model(context, dataset)
    return {"cold start": cold_start_stage.cold_start, "GRPO": grpo_stage.grpo}[stage](context, dataset, base)


def facts(artifact: Artifact) -> dict[str, Any]:
    return {name: value for name, value in artifact.facts.items() if name != "mlflow_run"}


@pytest.mark.parametrize(("stage", "where"), CASES, ids=[f"{stage}-{where[1]}" for stage, where in CASES])
def test_killed_behind_its_last_step_it_ends_the_same(
    stage: str,
    where: tuple[Any, str],
    workers: Workers,
    tracking: Tracking,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed = finished(stage, tmp_path / "undisturbed", tracking)
    with monkeypatch.context() as patch:
        patch.setattr(*where, kill)
        with pytest.raises(Killed):
            finished(stage, tmp_path / "killed", tracking)

    again = finished(stage, tmp_path / "killed", tracking)

    assert again.manifest["files"] == undisturbed.manifest["files"] and facts(again) == facts(undisturbed)
    assert [row["step"] for row in read_rows(again.path / METRICS)] == list(range(1, STEPS + 1))
    assert workers.trained == 2, "the steps were repeated"
    if stage == "GRPO":
        assert {a.kind for a in read_alarms(again.path)} == {"image_dropped", "truncated"}
        assert (again.path / COMPLETIONS).is_file()
        assert (again.path / SHEETS / sheet_name(0)).read_bytes() == b"a drawing"


def kill(*_: Any, **__: Any) -> None:
    raise Killed


@pytest.mark.parametrize("suite", ["base", "soft", "hard", "abstain"])
def test_grpo_warns_of_absent_targets_that_its_rewards_pay_nothing_for(suite: str) -> None:
    counts = {"splits": {"train": {"samples": 40, "absent": {"removed": 3, "healthy": 5}}}}
    warning = grpo_stage.unrewarded_absence(counts, suite)
    if suite == "abstain":
        assert warning is None
    else:
        assert warning is not None and warning.startswith("8 of 40 training questions")
        assert "grpo.rewards.suite to 'abstain'" in warning


@pytest.mark.parametrize("counts", [{}, {"splits": {"train": {"samples": 40}}}])
def test_grpo_is_silent_where_every_target_is_there(counts: dict[str, Any]) -> None:
    assert grpo_stage.unrewarded_absence(counts, "soft") is None
