"""A run's rows: each step once, however often it is told, and validations beside the steps they belong to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Tracking:
    folder = tmp_path_factory.mktemp("mlflow")
    return Tracking(f"sqlite:///{folder / 'mlflow.db'}", "tracking", (folder / "artifacts").as_uri())


def history(run: TrackedRun, name: str) -> list[tuple[int, float]]:
    return [(m.step, m.value) for m in run.client.get_metric_history(run.id, name)]


def test_a_second_attempt_logs_only_what_is_new(tracking: Tracking, tmp_path: Path) -> None:
    for attempt in (range(1, 4), range(1, 6)):
        run = tracking.run("GRPO", tmp_path, {})
        for step in attempt:
            run.row({"step": step, "total": 9, "reward": step / 10})
    assert history(run, "reward") == [(s, s / 10) for s in range(1, 6)]
    assert history(run, "total") == []


def test_a_validation_is_logged_beside_its_step(tracking: Tracking, tmp_path: Path) -> None:
    for _ in range(2):
        run = tracking.run("GRPO", tmp_path, {})
        for step in (1, 2):
            run.row({"step": step, "reward": 1.0})
            run.row({"step": step, "eval_reward": 0.5})
    assert history(run, "reward") == [(1, 1.0), (2, 1.0)]
    assert history(run, "eval_reward") == [(1, 0.5), (2, 0.5)]


def test_a_table_grows_and_a_tag_is_kept_short(tracking: Tracking, tmp_path: Path) -> None:
    run = tracking.run("GRPO", tmp_path, {})
    for n in range(2):
        run.table([{"step": n, "text": "a"}, {"step": n, "text": "b"}], "table.json")
    found = json.loads(Path(run.client.download_artifacts(run.id, "table.json", str(tmp_path))).read_text())
    assert found == {"columns": ["step", "text"], "data": [[0, "a"], [0, "b"], [1, "a"], [1, "b"]]}
    run.tag("alarm.x", "y" * 9000)
    assert run.client.get_run(run.id).data.tags["alarm.x"] == "y" * 5000
