"""A training goes on whatever the MLflow server does, and everything is there in the end."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.pipeline import mlflow_store
from medreasoner_monai.pipeline.tracking import TrackedRun, Tracking
from tests.mlflow_server import Door

_NUMBERS = count()


@pytest.fixture
def door(mlflow_url: str) -> Iterator[Door]:
    door = Door(mlflow_url)
    yield door
    door.close()


@pytest.fixture
def tracking(door: Door, tmp_path: Path) -> Tracking:
    return Tracking(door.url, f"experiment-{next(_NUMBERS)}", outbox=tmp_path / "outbox")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    (tmp_path / "scratch").mkdir()
    return tmp_path / "scratch"


def runs(tracking: Tracking) -> list[Any]:
    return list(tracking.client.search_runs([tracking.experiment_id]))


def rewards(tracking: Tracking, run_id: str) -> list[tuple[int, int]]:
    return [(m.step, m.timestamp) for m in tracking.client.get_metric_history(run_id, "reward")]


def train(run: TrackedRun, steps: range) -> None:
    for step in steps:
        run.row({"step": step, "total": 9, "reward": step / 10, "time": 1_700_000_000.0 + step})


def everything_is_there(tracking: Tracking, steps: int) -> str:
    (run,) = runs(tracking)
    assert rewards(tracking, run.info.run_id) == [(s, (1_700_000_000 + s) * 1000) for s in range(1, steps + 1)]
    assert run.data.params == {"grpo.steps": "9"}
    assert {f.path for f in tracking.client.list_artifacts(run.info.run_id)} >= {"settings.json", "notes.txt"}
    assert run.info.status == "FINISHED"
    return str(run.info.run_id)


@pytest.mark.parametrize("trouble", ["shut", "refusing"])
def test_a_training_ends_well_without_a_server_and_is_sent_when_it_answers(
    trouble: str, door: Door, tracking: Tracking, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    door.state = trouble
    caplog.set_level(logging.WARNING, "medreasoner")
    started = time.monotonic()
    run = tracking.run("GRPO", scratch, {"stage": "GRPO"})
    run.settings({"grpo": {"steps": 9}})
    run.document({"grpo": {}}, "settings.json")
    (scratch / "notes.txt").write_text("kept")
    run.file(scratch / "notes.txt")
    (scratch / "notes.txt").unlink()
    train(run, range(1, 6))
    run.finish()
    assert time.monotonic() - started < 5
    assert run.id is None
    (warning,) = caplog.messages
    assert f"MLflow at {door.url} does not take what is tracked (" in warning and str(scratch) in warning

    door.state = "open"
    later = Tracking(door.url, tracking.experiment, outbox=tracking.outbox)
    assert later.replay() == 0
    everything_is_there(later, 5)
    assert list(later.outbox.glob("*/")) == []


def test_an_outage_in_the_middle_loses_and_repeats_nothing(
    door: Door, tracking: Tracking, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow_store, "FIRST_PAUSE", 0.0)
    run = tracking.run("GRPO", scratch, {})
    run.settings({"grpo": {"steps": 9}})
    train(run, range(1, 4))
    door.state = "shut"
    train(run, range(4, 7))
    door.state = "open"
    tracking.store._retry_at = 0.0
    train(run, range(7, 9))
    run.document({}, "settings.json")
    run.document("x", "notes.txt")
    run.finish()
    everything_is_there(tracking, 8)


def test_a_failing_server_is_not_asked_at_every_step(door: Door, tracking: Tracking, scratch: Path) -> None:
    run = tracking.run("GRPO", scratch, {})
    door.state, door.delay = "slow", 2.5
    asked = len(door.seen)
    train(run, range(1, 200))
    assert len(door.seen) - asked == 1


def test_a_second_attempt_sends_what_the_first_could_not(door: Door, tracking: Tracking, scratch: Path) -> None:
    door.state = "shut"
    run = tracking.run("GRPO", scratch, {})
    run.settings({"grpo": {"steps": 9}})
    train(run, range(1, 4))
    # Killed here, in the middle of a line.
    with (scratch / "mlflow" / "operations.jsonl").open("a") as f:
        f.write('{"op": "met')
    door.state = "open"
    again = Tracking(door.url, tracking.experiment).run("GRPO", scratch, {})
    assert again.id is not None
    train(again, range(1, 6))
    again.document({}, "settings.json")
    again.document("x", "notes.txt")
    again.finish()
    everything_is_there(tracking, 5)


def test_a_run_that_was_created_but_not_noted_is_found_again(tracking: Tracking, scratch: Path) -> None:
    first = tracking.run("GRPO", scratch, {})
    (scratch / "mlflow" / "state.json").unlink()  # killed between the server's answer and the note
    again = tracking.run("GRPO", scratch, {})
    assert again.id == first.id and len(runs(tracking)) == 1


def test_failed_stopped_and_resumed_runs_say_so(tracking: Tracking, scratch: Path) -> None:
    def status() -> str:
        return str(runs(tracking)[0].info.status)

    with pytest.raises(RuntimeError), tracking.run("GRPO", scratch, {}).ending():
        raise RuntimeError("no space")
    assert status() == "FAILED"
    stopped = tracking.run("GRPO", scratch, {})
    assert status() == "RUNNING"
    with pytest.raises(KeyboardInterrupt), stopped.ending():
        raise KeyboardInterrupt
    assert status() == "KILLED"
    with tracking.run("GRPO", scratch, {}).ending():
        assert status() == "RUNNING"
    assert status() == "FINISHED"


@pytest.mark.parametrize("reached", [True, False])
def test_stages_are_children_of_the_chains_run(reached: bool, door: Door, tracking: Tracking, tmp_path: Path) -> None:
    door.state = "open" if reached else "shut"
    for name in ("run", "stage"):
        (tmp_path / name).mkdir()
    parent = tracking.open_parent("demo", {"run": "1"}, tmp_path / "run")
    child = tracking.run("GRPO", tmp_path / "stage", {}, parent=parent)
    child.finish()
    parent.finish()
    door.state = "open"
    later = Tracking(door.url, tracking.experiment, outbox=tracking.outbox)
    assert later.replay() == 0
    found = {r.info.run_name: r for r in runs(later)}
    assert found["GRPO"].data.tags["mlflow.parentRunId"] == found["demo"].info.run_id
    assert {r.info.status for r in found.values()} == {"FINISHED"}


def test_an_interrupted_run_in_the_outbox_is_taken_up_again(door: Door, tracking: Tracking, scratch: Path) -> None:
    door.state = "shut"
    run = tracking.run("GRPO", scratch, {})
    train(run, range(1, 3))
    with pytest.raises(RuntimeError), run.ending():
        raise RuntimeError
    door.state = "open"
    later = Tracking(door.url, tracking.experiment, outbox=tracking.outbox)
    assert later.replay() == 0
    (failed,) = runs(later)
    assert failed.info.status == "FAILED"
    with later.run("GRPO", scratch, {}).ending() as run:
        train(run, range(1, 5))
    (done,) = runs(later)
    assert done.info.run_id == failed.info.run_id and done.info.status == "FINISHED"
    assert [step for step, _ in rewards(later, done.info.run_id)] == [1, 2, 3, 4]


def test_what_the_server_will_never_take_does_not_hold_up_the_rest(
    tracking: Tracking, scratch: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tracking.run("GRPO", scratch, {})
    run.figures({"not:a*name": 1.0})
    run.figures({"box_iou": 0.5})
    run.finish()
    (found,) = runs(tracking)
    assert found.data.metrics == {"box_iou": 0.5} and found.info.status == "FINISHED"
    assert any("MLflow refuses a metrics operation" in m for m in caplog.messages)


def test_settings_are_one_request_and_a_tables_uploads_stay_in_proportion(
    door: Door, tracking: Tracking, scratch: Path, tmp_path: Path
) -> None:
    run = tracking.run("GRPO", scratch, {})
    before = len(door.seen)
    run.settings({f"s{n}": {"a": n, "b": n} for n in range(40)})
    assert len(door.seen) - before == 1
    before = len(door.seen)
    for n in range(60):
        run.table([{"step": n, "text": "x" * 50}], "completions.json")
    uploads = [line for line in door.seen[before:] if line.startswith("PUT")]
    assert len(uploads) < 25
    run.finish()
    table = json.loads(Path(run.client.download_artifacts(run.id, "completions.json", str(tmp_path))).read_text())
    assert [row[0] for row in table["data"]] == list(range(60))
    assert len(run.client.get_run(run.id).data.params) == 80
