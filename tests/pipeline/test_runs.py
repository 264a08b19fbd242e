"""A run is written down while it works, and how it ended is never left open."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import ArtifactError, InputError, StageFailedError, StoppedError
from medreasoner_monai.pipeline.artifacts import Artifact
from medreasoner_monai.pipeline.runs import RunRecord, Runs, mask
from medreasoner_monai.pipeline.store import Store


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "runs")


def start(runs: Runs, **values: Any) -> RunRecord:
    given = {"name": "My test!", "chain": "retrain", "config": "configs/smoke.yaml", "overrides": (), "settings": {}}
    return runs.start(**(given | {"trigger": "command line"} | values))


def artifact(root: Path, key: str = "k") -> Artifact:
    store = Store(root)
    with store.make("dataset", key, {}, {}) as draft:
        (draft.path / "a.txt").write_text(key)
    found = store.find("dataset", key)
    assert found is not None
    return found


def test_a_run_says_who_started_it_and_why(runs: Runs) -> None:
    record = runs.load(start(runs, reason="new labels", overrides=("grpo.steps=3",)).id)
    assert record.id.split("-")[2:4] == ["my", "test"] and record.status == "running"
    assert "@" in record.started_by and record.reason == "new labels" and record.pid == os.getpid()
    assert record.overrides == ("grpo.steps=3",) and "torch" in record.packages


def test_artifacts_are_noted_by_stage(runs: Runs, tmp_path: Path) -> None:
    made = artifact(tmp_path / "artifacts")
    id_ = start(runs).id
    runs.note_artifact(id_, "curate", made, reused=True)
    noted = runs.load(id_).artifacts["curate"]
    assert (noted.ref, noted.reused) == (made.ref, True)


def test_how_a_run_ended_is_written_down(runs: Runs) -> None:
    endings: list[tuple[BaseException | None, str, str | None]] = [
        (None, "finished", None),
        (StageFailedError("grpo ended with exit code 1"), "failed", "grpo ended with exit code 1"),
        (StoppedError("stopped after step 3"), "stopped", "stopped after step 3"),
        (KeyboardInterrupt(), "stopped", None),
        (ValueError("Doe^John"), "failed", "unexpected ValueError"),
    ]
    for error, status, said in endings:
        id_ = start(runs).id
        if error is None:
            with runs.recorded(id_):
                pass
        else:
            with pytest.raises(type(error)), runs.recorded(id_):
                raise error
        record = runs.load(id_)
        assert (record.status, record.error) == (status, said)
        assert record.seconds is not None and record.seconds >= 0


KILLED = """
import sys, os, signal
from pathlib import Path
from medreasoner_monai.pipeline.runs import Runs
runs = Runs(Path(sys.argv[1]))
record = runs.start(name="x", chain="retrain", config="", overrides=(), settings={}, trigger="command line")
print(record.id, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_is_interrupted(runs: Runs) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(runs.root)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL
    assert runs.load(done.stdout.strip()).status == "interrupted"


def test_a_run_is_found_by_a_part_of_its_id_or_as_the_latest(runs: Runs) -> None:
    with pytest.raises(InputError, match="has no run 'latest'.*there are no runs yet"):
        runs.load("latest")
    first, second = start(runs, name="alpha"), start(runs, name="beta")
    assert runs.load("alpha").id == first.id
    assert runs.load("latest").id == max(first.id, second.id)
    with pytest.raises(InputError, match="2 runs have '20' in their id"):
        runs.load("20")
    with pytest.raises(InputError, match="has no run 'gamma'"):
        runs.load("gamma")


def test_a_damaged_record_is_named_and_hides_no_other(runs: Runs) -> None:
    good, bad = start(runs), start(runs)
    (runs.folder(bad.id) / "run.json").write_text("{half")
    with pytest.raises(ArtifactError, match=r"run.json cannot be read"):
        runs.load(bad.id)
    assert [r.id for r in runs.all()] == [good.id]


def note(root: Path, id_: str, stage: str, folder: Path) -> None:
    Runs(root).note_artifact(id_, stage, Artifact.open(folder), reused=False)


def test_processes_that_note_at_once_lose_nothing(runs: Runs, tmp_path: Path) -> None:
    id_, folder = start(runs).id, artifact(tmp_path / "artifacts").path
    spawn = multiprocessing.get_context("spawn")
    jobs = [spawn.Process(target=note, args=(runs.root, id_, f"stage {n}", folder)) for n in range(4)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert set(runs.load(id_).artifacts) == {f"stage {n}" for n in range(4)}


def test_no_secret_is_written_down(runs: Runs) -> None:
    settings = {"store": {"url": "sftp://me:pw1@host/x", "options": {"password": "pw2", "key_filename": "id"}}}
    id_ = start(runs, settings=settings, overrides=("store.options.password=pw3", "grpo.steps=4")).id
    text = (runs.folder(id_) / "run.json").read_text()
    assert not any(secret in text for secret in ("pw1", "pw2", "pw3"))
    assert json.loads(text)["settings"]["store"]["options"] == {"password": "***", "key_filename": "id"}
    assert mask({"key_variable": "OPENAI_API_KEY"}) == {"key_variable": "OPENAI_API_KEY"}
