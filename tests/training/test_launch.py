"""Following a worker process: its rows as they come, its first error, and its end with ours."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medreasoner_monai.errors import ConfigError, StageFailedError
from medreasoner_monai.settings.training import DeepSpeedSettings
from medreasoner_monai.training.launch import LOG, METRICS, Tail, check_port, command, read_rows, run_worker

# Writes two rows, then does what its job says.
WORKER = """
import fcntl, json, os, signal, sys
from pathlib import Path

job = json.loads(Path(sys.argv[1]).read_text())
lock = open(job["folder"] + "/alive", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
with open(job["folder"] + "/metrics.jsonl", "a") as f:
    for step in (1, 2):
        f.write(json.dumps({"step": step, "rank": os.environ["TOKENIZERS_PARALLELISM"]}) + "\\n")
if job["do"] == "fail":
    print("loading", flush=True)
    raise ValueError("the model has no weights")
if job["do"] == "die":
    os.kill(os.getpid(), signal.SIGKILL)
if job["do"] == "wait":
    signal.pause()
"""
PARENT = """
import sys
from pathlib import Path
from medreasoner_monai.training.launch import run_worker

folder = Path(sys.argv[1])
run_worker("tiny_worker", {"do": "wait", "folder": str(folder)}, folder, lambda row: print("row", flush=True))
"""


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "tiny_worker.py").write_text(WORKER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "path"), str(Path(__file__).parents[2])]))


def run(folder: Path, do: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    run_worker("tiny_worker", {"do": do, "folder": str(folder)}, folder, rows.append)
    return rows


def wait_for_its_end(folder: Path) -> None:
    """Returns once no worker holds its lock; the kernel lets go of it when the process ends."""
    with (folder / "alive").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)


def test_rows_arrive_each_once_and_in_order(tmp_path: Path) -> None:
    assert [r["step"] for r in run(tmp_path / "job", "end")] == [1, 2]
    assert json.loads((tmp_path / "job" / "job.json").read_text())["do"] == "end"


def test_failing_worker_gives_its_error_and_where_the_log_is(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    with pytest.raises(StageFailedError, match="exit code 1: ValueError: the model has no weights") as caught:
        run(folder, "fail")
    assert str(folder / LOG) in str(caught.value)
    assert "loading" in (folder / LOG).read_text()


def test_killed_worker_is_told_by_its_signal(tmp_path: Path) -> None:
    with pytest.raises(StageFailedError, match="tiny_worker ended with signal SIGKILL"):
        run(tmp_path / "job", "die")


def test_module_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(StageFailedError, match="No module named no_such_worker"):
        run_worker("no_such_worker", {}, tmp_path / "job", lambda row: None)


def test_worker_ends_when_its_rows_cannot_be_taken(tmp_path: Path) -> None:
    def refuse(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    folder = tmp_path / "job"
    with pytest.raises(KeyboardInterrupt):
        run_worker("tiny_worker", {"do": "wait", "folder": str(folder)}, folder, refuse)
    wait_for_its_end(folder)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_worker_dies_with_its_parent(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    with subprocess.Popen([sys.executable, "-c", PARENT, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None and parent.stdout.readline() == "row\n"
        os.kill(parent.pid, signal.SIGKILL)
    wait_for_its_end(folder)


def test_tail_gives_what_was_added_and_waits_for_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / METRICS
    tail = Tail(path)
    assert list(tail) == []
    path.write_text('{"step": 1}\n{"st')
    assert list(tail) == [{"step": 1}]
    assert list(tail) == []
    with path.open("a") as f:
        f.write('ep": 2}\n')
    assert list(tail) == [{"step": 2}]
    assert read_rows(path) == [{"step": 1}, {"step": 2}]


def test_tail_reads_a_replaced_file_from_its_start(tmp_path: Path) -> None:
    path, new = tmp_path / METRICS, tmp_path / "new"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    tail = Tail(path)
    assert len(list(tail)) == 3
    new.write_text('{"step": 1}\n{"step": 2}\n{"step": 3, "again": true}\n{"step": 4}\n')
    new.replace(path)
    assert [row["step"] for row in tail] == [1, 2, 3, 4]


def test_a_port_that_is_taken_is_said_before_ranks_wait_for_each_other() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} cannot be used .* deepspeed.port"):
            check_port(port)
    check_port(port)


def test_each_spread_has_its_launcher(tmp_path: Path) -> None:
    job = tmp_path / "job.json"
    assert command("w", job, None) == command("w", job, DeepSpeedSettings()) == [sys.executable, "-m", "w", str(job)]
    node = command("w", job, DeepSpeedSettings(processes=2))
    assert node[:3] == [sys.executable, "-m", "torch.distributed.run"] and node[-3:] == ["-m", "w", str(job)]
    hosts = DeepSpeedSettings(processes=8, nodes=2, hostfile=tmp_path / "hosts", port=29511)
    many = command("w", job, hosts)
    assert {f"--hostfile={tmp_path / 'hosts'}", "--num_nodes=2", "--num_gpus=8", "--master_port=29511"} <= set(many)
    # What DeepSpeed's own launcher makes of it.
    from deepspeed.launcher.runner import parse_args

    read = parse_args(many[3:])
    assert (read.user_script, read.user_args, read.module, read.no_local_rank) == ("w", [str(job)], True, True)
    assert (read.num_nodes, read.num_gpus, read.master_port) == (2, 8, 29511)


def test_terminated_it_passes_the_wish_on_and_says_so(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "job")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline().strip() == "row"
    parent.send_signal(signal.SIGTERM)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode != 0 and "StoppedError: asked to stop" in said
    with (tmp_path / "job" / "alive").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the worker that held it has ended
