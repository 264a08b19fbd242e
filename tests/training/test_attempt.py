"""Ranks that outlive their driver, as those on other machines do: they end, and write nothing into a later attempt."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import StageFailedError
from medreasoner_monai.training import attempt
from medreasoner_monai.training.launch import METRICS, STOP, read_rows, run_worker

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which processes there are")

# A rank that writes rows until it is ended; it says that it is on another machine, and may fall asleep at a row.
RANK = """
import json, os, signal, sys, time
from pathlib import Path
from medreasoner_monai.training import attempt

job, mine = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
folder = Path(job["folder"])
if job["elsewhere"]:
    attempt._machine = lambda: "another machine"
attempt.join(folder, mine, 0)
for step in range(job["rows"]):
    attempt.check_current()
    with (folder / "metrics.jsonl").open("a") as f:
        f.write(json.dumps({"step": step, "attempt": mine}) + "\\n")
    if step == job["asleep_at"]:
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(0.02)
attempt.end()
"""
# Starts the rank as ssh does on another machine: in a session of its own, no child of the launcher's.
LAUNCHER = """
import signal, subprocess, sys

subprocess.run(["setsid", "--fork", sys.executable, "-m", *sys.argv[1:]])
signal.pause()
"""
DRIVER = """
import json, sys
from pathlib import Path
from medreasoner_monai.training import launch

launch.command = lambda module, job, spread, attempt: [sys.executable, "-m", "launcher", module, str(job), attempt]
job, lease = json.loads(sys.argv[1]), float(sys.argv[2])
launch.run_worker("rank", job, Path(job["folder"]), lambda row: print("row", flush=True), lease=lease)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "path"
    path.mkdir()
    (path / "rank.py").write_text(RANK)
    (path / "launcher.py").write_text(LAUNCHER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path), str(Path(__file__).parents[2])]))


def job(folder: Path, **changes: Any) -> dict[str, Any]:
    return {"folder": str(folder), "elsewhere": True, "rows": 10**6, "asleep_at": None, **changes}


Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a driver and gives it and the id of its rank, when that has written."""
    ranks: list[int] = []

    def started(work: dict[str, Any], lease: float = 120.0) -> tuple[subprocess.Popen[str], int]:
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(work), str(lease)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None and process.stdout.readline() == "row\n"
        (sign,) = (Path(work["folder"]) / attempt.RANKS).iterdir()
        ranks.append(json.loads(sign.read_text())["pid"])
        return process, ranks[-1]

    yield started
    for rank in ranks:
        if running(rank):
            os.kill(rank, signal.SIGKILL)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def kill(driver: subprocess.Popen[str]) -> None:
    driver.kill()
    driver.communicate()


def wait_for(happens: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def test_a_rank_on_another_machine_ends_when_its_driver_gives_no_sign(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    driver, rank = start(job(folder), lease=3.0)
    time.sleep(4)
    assert running(rank), "a driver that lives keeps its ranks, for longer than the lease"
    kill(driver)
    assert running(rank), "nothing tells a rank on another machine that its driver was killed"
    wait_for(lambda: not running(rank))
    assert not list((folder / attempt.RANKS).iterdir())


@pytest.mark.parametrize("elsewhere", [True, False], ids=["elsewhere", "here"])
def test_a_new_attempt_begins_when_the_ranks_of_the_old_one_have_ended(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    folder = tmp_path / "job"
    driver, rank = start(job(folder, elsewhere=elsewhere))
    kill(driver)
    assert running(rank)

    alive: list[bool] = []
    run_worker("rank", job(folder, rows=3), folder, lambda row: alive.append(running(rank)))

    rows = read_rows(folder / METRICS)
    old, new = rows[0]["attempt"], rows[-1]["attempt"]
    assert [row["attempt"] for row in rows] == [old] * (len(rows) - 3) + [new] * 3 and old != new
    assert alive and not any(alive)


def test_a_rank_that_slept_through_all_of_it_writes_nothing_when_it_wakes(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt, "GONE", 1.0)
    folder, told = tmp_path / "job", list[str]()
    driver, rank = start(job(folder, asleep_at=4))
    wait_for(lambda: len(read_rows(folder / METRICS)) == 5)
    kill(driver)

    run_worker("rank", job(folder, rows=3), folder, lambda row: None, note=told.append)
    before = (folder / METRICS).read_bytes()
    os.kill(rank, signal.SIGCONT)
    wait_for(lambda: not running(rank))

    assert (folder / METRICS).read_bytes() == before
    assert len(read_rows(folder / METRICS)) == 5 + 3


def test_a_rank_that_does_not_end_is_named(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempt, "PATIENCE", 3.0)
    folder, told = tmp_path / "job", list[str]()
    driver, rank = start(job(folder, elsewhere=False, asleep_at=2))  # on this machine it is seen to be there
    kill(driver)
    with pytest.raises(StageFailedError, match=f"still runs as process {rank} on .*; end it and run"):
        run_worker("rank", job(folder, rows=3), folder, lambda row: None, note=told.append)
    assert len(told) == 1 and f"process {rank}" in told[0]


def test_a_driver_whose_training_is_taken_over_ends_and_asks_nothing_of_the_other(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    driver, rank = start(job(folder))
    with attempt.begin(folder, print):
        assert not running(rank)
        _, said = driver.communicate(timeout=30)
        assert driver.returncode != 0 and "another process has taken over the training" in said
        assert not (folder / STOP).exists()


def test_ranks_of_an_attempt_that_has_ended_end_with_it(start: Start, tmp_path: Path) -> None:
    driver, rank = start(job(tmp_path / "job"))
    driver.send_signal(signal.SIGTERM)  # the launcher ends; what it has started elsewhere does not
    driver.communicate(timeout=30)
    wait_for(lambda: not running(rank))
